"""Objects of the evidence store, passed on to the browser: whole or in the range that it asks for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

from fastapi import HTTPException
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from pipeline import logs
from pipeline.alerts.object_store import ObjectStore
from pipeline.alerts.object_store_errors import ObjectGoneError, StoreError

_log = logs.get("console")

#: Limit of a request to the store: a browser waits for it, and so does a thread that others need, too. Seconds.
ANSWER_SECONDS = 10.0
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


def stored_file(store: ObjectStore, key: str, media_type: str, range_header: str | None) -> Response:
    """Return an object as a response; 416 where the range lies beyond its end.

    Where the store fails in the middle of it, the connection is closed: the browser sees that bytes are missing.

    Raises:
        HTTPException: 404 it is gone, 502 the store cannot be read.
    """
    try:
        size, version = store.version(key)
        asked = wanted_range(range_header, size)
        begin, end = asked or (0, size)
        pieces = store.read(key, begin, end, version) if end > begin else iter(())
    except ObjectGoneError:
        raise HTTPException(404, "this evidence is gone: it was removed from the store, or is not there yet") from None
    except StoreError as error:
        raise HTTPException(502, str(error)) from None
    except ValueError:
        return Response(None, 416, {"content-range": f"bytes */{size}"})  # the handler of errors keeps no headers
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=300",
        "content-disposition": "inline",
        "content-length": str(end - begin),
    }
    if asked is not None:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    return StreamingResponse(_passed_on(pieces, key), 200 if asked is None else 206, headers, media_type)


async def _passed_on(pieces: Iterator[bytes], key: str) -> AsyncIterator[bytes]:
    """Yield the pieces.

    Raises:
        StoreError: after its line in the log; the server closes the connection, as with any error.
    """
    try:
        async for piece in iterate_in_threadpool(pieces):
            yield piece
    except StoreError as error:
        _log.warning("evidence broke off on its way to a browser", file=key, reason=str(error))
        raise
