"""Asks one supplier's API: in its pace, with a deadline for everything, and again where that can help."""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import stamina

from jobs.common import log
from jobs.common.command import one_line
from jobs.ingest.polling.auth import Identity
from jobs.ingest.polling.body import read_body
from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.failure import PollFailedError, StoppedError

#: Waits that a supplier asks for are waited here up to so many seconds; longer ones by its circuit.
LONGEST_WAIT = 30.0
#: No supplier is left alone for longer than this because it says so, seconds.
LONGEST_PAUSE = 3_600.0
ATTEMPTS = 4

_FIRST_WAIT = 0.5
_JITTER = 0.5
_REDIRECTS = 3
_STOP_SECONDS = 0.2
_MAY_PASS = (408, 425, 429)
_REDIRECTING = (301, 302, 303, 307, 308)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and when the supplier says it answered; `is_empty` where it says that there is nothing (204)."""

    body: bytearray
    served_at: float | None
    is_empty: bool = False


class RefusedError(PollFailedError):
    """The supplier understood and said no: an HTTP status of 400 and more that another try will not change."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence, lasting=True)
        self.status = status


class Web:
    """One supplier's API; for one thread. Whatever it waits for, it ends soon after `stop` says True."""

    def __init__(self, api: SupplierApi, stop: Callable[[], bool]) -> None:
        self._api, self._stop = api, stop
        self._loop = asyncio.Runner()
        self._next = 0.0
        verify: ssl.SSLContext | bool = True
        if api.tls.ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=api.tls.ca_file)
            except OSError as error:
                raise PollFailedError(
                    f"tls.ca_file {api.tls.ca_file} in {api.file} cannot be read: {error.strerror or error}.",
                    lasting=True,
                ) from None
        limits = api.timeouts
        self._client = httpx.AsyncClient(
            verify=verify,
            timeout=httpx.Timeout(limits.read, connect=limits.connect, pool=limits.total),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            follow_redirects=False,
        )
        self._identity = Identity(api, self._client)

    def get(self, params: Mapping[str, str]) -> Answer:
        """The answer to one question. Raises PollFailedError, StoppedError where `stop` said so first."""
        return self._loop.run(self._unless_stopped(self._again_and_again(params)))

    def close(self) -> None:
        """Let go of the connections."""
        with suppress(Exception):
            self._loop.run(self._client.aclose())
        self._loop.close()

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait({task}, timeout=_STOP_SECONDS)
            if self._stop() and not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
                raise StoppedError
        return task.result()

    async def _again_and_again(self, params: Mapping[str, str]) -> Answer:
        # Each retry waits longer; where the supplier says how long, that long. Of each, `_wait` writes a line.
        async for attempt in stamina.retry_context(
            on=self._wait, attempts=ATTEMPTS, timeout=None, wait_initial=_FIRST_WAIT, wait_max=10.0, wait_jitter=_JITTER
        ):
            with attempt:
                return await self._ask(params)
        raise AssertionError("unreachable")  # pragma: no cover

    def _wait(self, error: Exception) -> bool | float:
        if not isinstance(error, PollFailedError) or error.lasting:
            return False
        log.get_logger(__name__).warning("asked in vain", supplier=self._api.supplier, why=str(error))
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= LONGEST_WAIT else False

    async def _ask(self, params: Mapping[str, str]) -> Answer:
        await self._pace()
        total = self._api.timeouts.total
        try:
            async with asyncio.timeout(total):
                return await self._follow(params)
        except TimeoutError:
            raise PollFailedError(f"{self._api.place} gave no whole answer in {total} s (timeouts.total).") from None
        except httpx.TimeoutException as error:
            kind = "connect" if isinstance(error, httpx.ConnectTimeout) else "read"
            seconds = getattr(self._api.timeouts, kind)
            raise PollFailedError(f"{self._api.place} was silent for {seconds} s (timeouts.{kind}).") from None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    async def _pace(self) -> None:
        """Wait for our turn, so that there are never more requests a second than agreed."""
        wait = self._next - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._next = time.monotonic() + float(1 / self._api.rate_limit)

    async def _follow(self, params: Mapping[str, str]) -> Answer:
        first = url = httpx.URL(self._api.url).copy_merge_params({**self._api.params, **params})
        is_renewed = False
        for _ in range(_REDIRECTS + 1):
            headers = {"accept": "application/json", "user-agent": "reco-poll", **self._api.headers}
            headers |= {"accept-encoding": "gzip", **await self._identity.headers()}
            async with self._client.stream("GET", url, headers=headers) as response:
                if response.status_code == 401 and not is_renewed and self._identity.renew():
                    is_renewed = True
                elif response.status_code in _REDIRECTING:
                    url = self._redirected(first, url, response)
                elif response.is_success:
                    return await self._take(response)
                else:
                    raise self._said_no(response)
        raise PollFailedError(f"{self._api.place} redirects in a circle.", lasting=True)

    async def _take(self, response: httpx.Response) -> Answer:
        body = await read_body(response, self._api.max_bytes)
        served = _date(response.headers.get("date", ""))
        at = None if served is None else served.timestamp()
        return Answer(body, at, is_empty=response.status_code == 204)

    def _redirected(self, first: httpx.URL, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where to ask instead: of the same server only, since what we show of ourselves is for nobody else."""
        try:
            target = url.join(response.headers.get("location", ""))
        except httpx.InvalidURL:
            target = httpx.URL("")
        if (target.scheme, target.host, _port(target)) != (first.scheme, first.host, _port(first)):
            to = f"{target.scheme}://{target.netloc.decode('ascii', 'replace').rpartition('@')[2]}"
            raise PollFailedError(
                f"{self._api.place} redirects to another server, {to}: refused; if that is right, write it as url "
                f"into {self._api.file}.",
                lasting=True,
            )
        return target

    def _said_no(self, response: httpx.Response) -> PollFailedError:
        status = response.status_code
        what = f"{self._api.place} answers {status} {response.reason_phrase[:40]}".rstrip()
        if status in _MAY_PASS or status >= 500:
            return PollFailedError(f"{what}.", retry_after=_retry_after(response))
        if status in (401, 403):
            return RefusedError(f"{what}: see auth in {self._api.file} and the secret that it refers to.", status)
        return RefusedError(f"{what}.", status)

    def _unreachable(self, error: httpx.HTTPError) -> PollFailedError:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            return PollFailedError(
                f"{self._api.place} shows a certificate that is not trusted ({cause.verify_message}): mend it there, "
                f"or name its authority as tls.ca_file in {self._api.file}.",
                lasting=True,
            )
        return PollFailedError(f"{self._api.place} cannot be read: {one_line(error) or type(error).__name__}.")


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds for which to leave it alone, said as such or as a date; never more than LONGEST_PAUSE."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), LONGEST_PAUSE)
    until = _date(said) if said else None
    return None if until is None else min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_PAUSE)
