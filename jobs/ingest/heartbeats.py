"""Heartbeats on every partition of a side's topic, and `reco heartbeat` for suppliers that push by themselves."""

import time
from collections.abc import Callable
from typing import Annotated, Literal

import typer
from structlog.typing import FilteringBoundLogger

from jobs.common import kafka, log
from jobs.common.errors import FAILED, UserError
from jobs.common.kafka_reach import Right, partitions
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import Settings, load_settings
from jobs.ingest.events import iso
from jobs.ingest.outbox import sides_of
from jobs.ingest.publisher import GivenUpError, Outgoing, Publisher
from jobs.ingest.stopping import Stopping, Waits

_PATIENCE_SECONDS = 5.0


def raw_topics(settings: Settings) -> dict[str, str]:
    """The raw topic of each side, by its name in the outbox."""
    return {"agoda": settings.topics.agoda_raw, "supplier": settings.topics.supplier_raw}


class BrokerAwayError(Exception):
    """No broker answers."""


class Partitions:
    """How many partitions topics have, asked anew each time: they may have become more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: set[str] = set()

    def of(self, topic: str) -> int:
        """Raises BrokerAwayError, or UserError where the broker lets us not in, or not write there, or has no topic.

        What went well before is waited for as a broker that is away is. The connection is a new one each time: while
        nobody asks, nobody knocks at a broker that refuses us.
        """
        try:
            number = partitions(self._settings, {topic: (Right.WRITE,)}, seconds=_PATIENCE_SECONDS)[topic]
        except kafka.BrokerAwayError as error:
            raise BrokerAwayError(error.fact) from error
        except UserError as error:
            if topic in self._known:
                raise BrokerAwayError(str(error)) from error
            raise
        self._known.add(topic)
        return number


def beat(publisher: Publisher, partitions: Partitions, topic: str, until_ms: int) -> int:
    """Say on every partition that everything up to then (milliseconds since 1970) is published; how many they are.

    Returns once the broker has confirmed each. Raises what Partitions and Publisher raise.
    """
    value = f'{{"heartbeat":true,"eventTime":"{iso(until_ms)}"}}'.encode()
    beats = [Outgoing(topic, None, value, partition=number) for number in range(partitions.of(topic))]
    if refused := publisher.publish(beats):
        raise BrokerAwayError(f"the broker takes no heartbeat on {topic} ({refused[0].reason})")
    return len(beats)


def run(
    settings: Settings,
    side: str,
    *,
    every: float,
    lag: float,
    once: bool,
    stopping: Stopping,
    clock: Callable[[], float] = time.time,
) -> int:
    """Heartbeats by the clock (seconds since 1970), `lag` seconds behind it; returns how many rounds were sent.

    A clock that goes back is waited for: no heartbeat is earlier than the one before. With `once` the broker is not
    waited for either; raises UserError where it does not answer.
    """
    logger, topic = log.get_logger(__name__), raw_topics(settings)[side]
    publisher = Publisher(settings, _waiting(logger), stopping.is_over)
    partitions, waits = Partitions(settings), Waits(stopping.sleep)
    last = sent = 0
    while not stopping.asked:
        until = int((clock() - lag) * 1000)
        try:
            if until > last:
                beat(publisher, partitions, topic, until)
                last, sent = until, sent + 1
            else:
                logger.warning("no heartbeat", side=side, why="the clock has gone back", milliseconds=last - until)
            waits.over()
        except BrokerAwayError as error:
            if once:
                raise UserError(f"Not sent: {error}.", FAILED) from error
            logger.warning("waiting", what="broker", why=str(error), seconds=waits.grow())
            continue
        except GivenUpError:
            break
        if once:
            break
        stopping.sleep(every)
    return sent


def _waiting(logger: FilteringBoundLogger) -> Callable[[float], None]:
    return lambda seconds: logger.warning("waiting", what="broker", seconds=round(seconds))


def command(
    side: Annotated[Literal["agoda", "supplier"], typer.Option(help="Whose topic.")],
    every: Annotated[float, typer.Option(help="Seconds between two heartbeats.", min=0.1, max=3600)] = 10.0,
    lag: Annotated[
        float, typer.Option(help="How many seconds a record may be under way to the broker.", min=0, max=86400)
    ] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Send one on every partition, then end.")] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Keep a topic's time moving where its records are pushed by others; where `reco relay` publishes, it does that.

    Says on every partition that all that was published before `--lag` seconds ago is there, by this machine's clock.

    Example: reco heartbeat --side supplier --every 10
    """
    log.configure(debug=debug, as_json=True if as_json else None)
    known = load_settings(settings)
    if known.outbox.dsn and side in sides_of(known.outbox):
        raise UserError(
            f"--side {side}: outbox.sides names it, so `reco relay` tells its time, behind rows that are not published "
            "yet; a heartbeat by the clock would be false. Leave this to the relay, or change outbox.sides."
        )
    with Stopping() as stopping:
        sent = run(known, side, every=every, lag=lag, once=once, stopping=stopping)
    if as_json:
        print_json({"side": side, "topic": raw_topics(known)[side], "rounds": sent})
    else:
        say(f"Sent {sent:,} rounds of heartbeats to {raw_topics(known)[side]}.")
