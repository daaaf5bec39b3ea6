"""Reads an answer's body piece by piece, never more of it than is allowed, compressed or not."""

import zlib

import httpx

from jobs.ingest.polling.failure import PollFailedError


async def read_body(response: httpx.Response, most: int) -> bytearray:
    """The body, unpacked; at most so many bytes of it are ever in memory. Raises PollFailedError where it has more."""
    said = response.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:20]) > most:
        raise _too_large(most)
    unpacked = _Unpacked(response.headers.get("content-encoding", "").strip().lower(), most)
    # Raw: unpacking that is left to the client unpacks a piece whole, and a bomb is small until then.
    async for piece in response.aiter_raw():
        unpacked.take(piece)
    return unpacked.end()


class _Unpacked:
    def __init__(self, encoding: str, most: int) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise PollFailedError(
                f"It answers in the encoding {encoding[:40]!a}, which nobody asked for.", lasting=True
            )
        self._body, self._most = bytearray(), most
        self._unpack = None if encoding in ("", "identity") else _gzip()

    def take(self, piece: bytes) -> None:
        while piece and self._unpack is not None:
            if self._unpack.eof:
                self._unpack = _gzip()
            try:
                self._add(self._unpack.decompress(piece, self._most - len(self._body) + 1))
            except zlib.error:
                raise PollFailedError("Its answer says it is gzip and is not.") from None
            piece = self._unpack.unused_data
        if self._unpack is None:
            self._add(piece)

    def end(self) -> bytearray:
        if self._unpack is not None and not self._unpack.eof and self._body:
            raise PollFailedError("Its answer broke off: the gzip in it has no end.")
        return self._body

    def _add(self, piece: bytes) -> None:
        if len(self._body) + len(piece) > self._most:
            raise _too_large(self._most)
        self._body += piece


def _gzip() -> "zlib._Decompress":
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _too_large(most: int) -> PollFailedError:
    return PollFailedError(
        f"Its answer is larger than max_bytes, {most:,} bytes: ask for fewer items with paging.size, or raise "
        "max_bytes.",
        lasting=True,
    )
