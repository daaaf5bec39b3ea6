"""An incident in words: what is wrong, what it costs, examples, where to look."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote, urlencode

from jobs.alerts.model import Incident, Summary
from jobs.alerts.plan import Action, Delivery
from jobs.alerts.signature import say
from jobs.common.output import listed, printable

_SUPPLIERS = 10
_NAMES = 200
_NOUNS = {"BOOKING": "booking", "PAYMENT": "payment", "REFUND": "refund", "CANCELLATION": "cancellation"}


@dataclass(frozen=True)
class Message:
    """What a sink sends. `id`: the incident's or the close's; `key`: the same for a repeat of this very message."""

    id: str
    key: str
    action: Action
    title: str
    lines: tuple[str, ...]
    severity: str
    suppliers: tuple[str, ...]
    kinds: tuple[str, ...]
    count: int
    amount: Decimal
    began: float
    link: str | None = None


def worded(delivery: Delivery, link: str | None) -> Message:
    """The message of a delivery; `link`: a template with {filter}, {incident} and {supplier}."""
    notes = [f"Told here because {delivery.instead_of} does not answer."] if delivery.instead_of else []
    if delivery.digest is not None:
        digest = delivery.digest
        lines = (*digest.lines, *notes)
        return Message(
            digest.id, f"{digest.id}:digest", Action.DIGEST, digest.title, lines, "LOW", (), (), 0, Decimal(0),
            digest.began,
        )  # fmt: skip
    incident, summary = delivery.incident, delivery.summary
    assert incident is not None
    if delivery.elsewhere:
        supplier = printable(incident.slot.supplier)
        others = f"{delivery.elsewhere:,} {_plural('break', delivery.elsewhere)}"
        notes.insert(0, f"Still open at {supplier}: {others}, told of in other messages.")
    told = incident.told.get(delivery.sink)
    over = delivery.action is Action.RESOLVE
    shown = incident.peak if over else summary
    what = title(incident, shown)
    return Message(
        id=incident.id,
        key=f"{incident.id}:{delivery.action}:{told.at if told else 0:.3f}",
        action=delivery.action,
        title=f"Resolved: {what}" if over else what,
        lines=(*_lines(incident, shown, over=over), *notes),
        severity=shown.severity,
        suppliers=shown.suppliers or (incident.slot.supplier,),
        kinds=tuple(kind for kind, _ in shown.kinds),
        count=summary.count,
        amount=summary.amount,
        began=incident.began,
        link=_link(link, incident),
    )


def money(amount: Decimal) -> str:
    """US dollars to the cent."""
    return f"{amount:,.2f} USD"


def at_risk(summary: Summary) -> str:
    """What it costs, and what is not in that."""
    unpriced = f" and {summary.unpriced:,} that cannot be priced" if summary.unpriced else ""
    return f"{money(summary.amount)} at risk{unpriced}"


def instant(at: float) -> str:
    """A moment, given in seconds since 1970, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def title(incident: Incident, summary: Summary) -> str:
    """One line: who, how many, what is wrong."""
    slot = incident.slot
    if incident.is_flood:
        return f"{len(summary.suppliers):,} suppliers: {summary.count:,} breaks, {at_risk(summary)}"
    supplier = printable(slot.supplier)
    if slot.kind == "FEED_SILENT":
        return f"{supplier}: {say(slot.kind, slot.signature)}"
    noun = _NOUNS.get(summary.noun, "break" if slot.kind is None else "activity")
    counted = f"{summary.count:,} {_plural(noun, summary.count)}"
    if slot.kind is None:
        return f"{supplier}: {counted}, {slot.severity}"
    return f"{supplier}: {counted}, {say(slot.kind, slot.signature)}"


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return f"{noun[:-1]}ies" if noun == "activity" else f"{noun}s"


def _lines(incident: Incident, summary: Summary, *, over: bool) -> list[str]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.kinds)
    found = [f"{at_risk(summary)}; {summary.severity}; {kinds}"]
    if over:
        found = [f"At most {found[0]}"]
    if incident.is_flood:
        named = ", ".join(printable(name) for name in summary.suppliers[:_SUPPLIERS])
        more = len(summary.suppliers) - _SUPPLIERS
        found.append(f"Most at risk: {named}" + (f" and {more:,} more" if more > 0 else ""))
    if summary.examples and not over:
        found.append(f"For example {', '.join(printable(name) for name in summary.examples)}")
    found.append(f"Since {instant(incident.began)}; incident {incident.id}")
    if summary.came_back and not over:
        found.append(f"{summary.came_back:,} of them came back after somebody had resolved them")
    if incident.cared_for_by and not over:
        found.append(f"Acknowledged by {printable(incident.cared_for_by)[:_NAMES]}")
    return found


def _link(link: str | None, incident: Incident) -> str | None:
    if link is None:
        return None
    slot = incident.slot
    # The console's search; of a flood, all that is unresolved.
    wanted = (
        {} if incident.is_flood else {"supplier": listed([slot.supplier]), "type": slot.kind, "severity": slot.severity}
    )
    names = {
        "{incident}": incident.id,
        "{supplier}": quote(slot.supplier, safe=""),
        "{filter}": urlencode({name: value for name, value in wanted.items() if value}),
    }
    for name, value in names.items():
        link = link.replace(name, value)
    return link
