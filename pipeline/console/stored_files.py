"""Objects of the evidence store, passed on to the browser: whole or in the range that it asks for."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Iterator

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import HTTPException
from starlette.responses import Response, StreamingResponse

from pipeline import logs
from pipeline.alerts.object_store import ObjectStore
from pipeline.alerts.object_store_errors import ObjectGoneError, StoreError

_log = logs.get("console")

#: Limit of a request to the store: a browser waits for it, and so does a thread that others need, too. Seconds.
ANSWER_SECONDS = 10.0
#: Requests that may wait for the store at a time: the web framework has 40 threads for all requests.
AT_ONCE = 16
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte that a Range header asks for, and the byte after the last; None: the whole is sent.

    Headers that are not one range of bytes are ignored, as HTTP allows.

    Raises:
        ValueError: the range lies beyond the end.

    >>> wanted_range("bytes=2-5", 10), wanted_range("bytes=7-", 10), wanted_range("bytes=-3", 10)
    ((2, 6), (7, 10), (7, 10))
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < begin:
        return None  # not a range
    if begin >= size or (not first and int(last) == 0):
        raise ValueError(f"beyond {size} bytes")
    return begin, end


class StoredFiles:
    """The objects of a store as responses. Thread-safe.

    A store that hangs holds threads up. So few requests wait for it at a time, and threads are left to the others.
    """

    def __init__(self, store: ObjectStore, *, at_once: int = AT_ONCE) -> None:
        self._store, self._at_once = store, at_once
        self._slots = threading.BoundedSemaphore(at_once)
        self._limiter: CapacityLimiter | None = None  # made inside the event loop

    def response(
        self, key: str, media_type: str, range_header: str | None = None, if_range: str | None = None
    ) -> Response:
        """Return an object as a response; 416 where the range lies beyond its end.

        Where the store fails in the middle of it, the connection is closed: the browser sees that bytes are missing.

        Args:
            if_range: the range is of this version; the whole is sent where the store has another one.

        Raises:
            HTTPException: 404 it is gone, 502 the store cannot be read, 503 too many requests wait for it.
        """
        if not self._slots.acquire(blocking=False):
            raise HTTPException(503, "the evidence store is slow, and too many requests wait for it; load it again")
        try:
            size, version = self._store.version(key)
            asked = wanted_range(range_header if if_range in (None, version) else None, size)
            begin, end = asked or (0, size)
            pieces = self._store.read(key, begin, end, version) if end > begin else iter(())
        except ObjectGoneError:
            detail = "this evidence is gone: it was removed from the store, or is not there yet"
            raise HTTPException(404, detail) from None
        except StoreError as error:
            raise HTTPException(502, str(error)) from None
        except ValueError:
            return Response(None, 416, {"content-range": f"bytes */{size}"})  # the handler of errors keeps no headers
        finally:
            self._slots.release()
        headers = {
            "accept-ranges": "bytes",
            "cache-control": "private, max-age=300",
            "content-disposition": "inline",
            "content-length": str(end - begin),
        }
        if version is not None:
            headers["etag"] = version
        if asked is not None:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
        return StreamingResponse(self._passed_on(pieces, key), 200 if asked is None else 206, headers, media_type)

    async def _passed_on(self, pieces: Iterator[bytes], key: str) -> AsyncIterator[bytes]:
        """Yield the pieces, each read by a thread that no other request needs.

        Raises:
            StoreError: after its line in the log; the server closes the connection, as with any error.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        try:
            while (piece := await anyio.to_thread.run_sync(next, pieces, None, limiter=self._limiter)) is not None:
                yield piece
        except StoreError as error:
            _log.warning("evidence broke off on its way to a browser", file=key, reason=str(error))
            raise
