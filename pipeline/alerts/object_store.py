"""An object store that speaks S3: evidence written, listed, read in ranges and removed.

Errors never hold the store's answer: it may repeat the access key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import MistwatchError, UsageError
from pipeline.secret_file import read_secret

if TYPE_CHECKING:
    from obstore.store import S3Store

#: A request without an answer for so long has failed, seconds: 60 hold a film of 256 MB at 35 Mbit/s.
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 60.0
#: Pieces in which an object is read, bytes.
_PIECE_BYTES = 2 << 20
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
#: What the codes of S3 mean to an operator.
_CODES = {
    "NoSuchBucket": "the bucket does not exist; create it, or correct evidence.store",
    "InvalidAccessKeyId": "it does not know the access key; correct the credentials",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; correct the credentials",
    "AccessDenied": "the access key may not do this; allow it to list, get, put and delete below the prefix",
    "PermanentRedirect": "the bucket is in another region; set evidence.store_region",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set evidence.store_region",
    "RequestTimeTooSkewed": "the clocks differ too much; set this machine's clock",
    "SlowDown": "it asks for fewer requests",
}


class StoreError(MistwatchError):
    """The store cannot be used now. One line without credentials."""


class ObjectGoneError(StoreError):
    """The store does not have the object."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is and who we are there.

    Attributes:
        uri: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint: of a server that is not AWS, ``https://HOST:PORT``; None: AWS.
        access_key_file, secret_key_file: one line each, read at the start; None: variables of the environment
            (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY…), or the role of the machine or pod.
    """

    uri: str
    endpoint: str | None = None
    region: str | None = None
    access_key_file: Path | None = None
    secret_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its key below the prefix, its size in bytes, and Unix time of its last writing, seconds."""

    key: str
    size: int
    modified_at: float


class ObjectStore:
    """A bucket's objects below a prefix. Thread-safe; every call waits for the network, for a minute at most.

    Raises:
        UsageError: the package is missing, a file of credentials cannot be read, or the address cannot be used.
    """

    def __init__(self, address: StoreAddress) -> None:
        try:
            from obstore import exceptions
            from obstore.store import S3Store
        except ImportError:
            raise UsageError(
                "evidence.store: the package obstore is missing; pip install 'mistwatch[s3]', or leave the store out"
            ) from None
        parts = urlsplit(address.uri)
        self.uri = address.uri.rstrip("/")
        options: dict[str, Any] = {} if address.region is None else {"region": address.region}
        if address.endpoint is not None:
            options["endpoint"] = address.endpoint
        if address.access_key_file is not None:
            options["access_key_id"] = read_secret("access key file of the evidence store", address.access_key_file)
        if address.secret_key_file is not None:
            options["secret_access_key"] = read_secret("secret key file of the evidence store", address.secret_key_file)
        try:
            self._store: S3Store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={
                    "allow_http": (address.endpoint or "").startswith("http://"),
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "timeout": timedelta(seconds=_ANSWER_SECONDS),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_CONNECT_SECONDS)},
                **options,
            )
        except (exceptions.BaseError, ValueError, TypeError):
            raise UsageError(f"evidence.store {self.uri}: cannot be used; check store and store_endpoint") from None

    def uri_of(self, key: str) -> str:
        """Return the URI of an object."""
        return f"{self.uri}/{quote(key)}"

    def key_of(self, uri: str) -> str | None:
        """Return the key of a URI in this store; None: it names something else."""
        if not uri.startswith(self.uri + "/"):
            return None
        return unquote(uri.removeprefix(self.uri + "/"))

    def put(self, key: str, file: Path) -> None:
        """Write an object from a file; it appears complete or not at all.

        Raises:
            StoreError: the store does not take it.
            OSError: the file cannot be read.
        """
        with file.open("rb") as content:
            self._call(self._store.put, key, content)

    def list(self, folder: str) -> Iterator[StoredObject]:
        """Yield the objects in a folder and below it, in no order. Raises StoreError."""
        pages = self._call(self._store.list, folder, chunk_size=1000)
        while (page := self._call(next, pages, None)) is not None:
            for one in page:
                yield StoredObject(one["path"], one["size"], one["last_modified"].timestamp())

    def size(self, key: str) -> int:
        """Return the size of an object, bytes.

        Raises:
            ObjectGoneError: it is not there.
            StoreError: the store does not answer, or refuses.
        """
        return int(self._call(self._store.head, key)["size"])

    def read(self, key: str, begin: int, end: int) -> Iterator[bytes]:
        """Return the bytes from ``begin`` up to ``end`` in pieces, each by a request; the first is made at once.

        A reader may thus pause for as long as it likes. Raises like size, also while it is read.
        """

        def piece(at: int) -> bytes:
            return bytes(self._call(self._store.get_range, key, start=at, end=min(end, at + _PIECE_BYTES)))

        first = piece(begin)
        return chain([first], map(piece, range(begin + _PIECE_BYTES, end, _PIECE_BYTES)))

    def delete(self, key: str) -> None:
        """Remove an object, if it is there. Raises StoreError."""
        try:
            self._call(self._store.delete, key)
        except ObjectGoneError:
            return

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Return what a call of the library returns. Raises StoreError instead of the library's errors, OSError."""
        from obstore import exceptions

        try:
            return function(*arguments, **options)
        except FileNotFoundError as error:
            if (code := _code(error)) == "NoSuchBucket":
                raise self._error(_CODES[code]) from None
            raise ObjectGoneError(
                f"evidence store {self.uri}: the object is gone; it was removed or never came"
            ) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._error(_meaning(error)) from None

    def _error(self, meaning: str) -> StoreError:
        return StoreError(f"evidence store {self.uri}: {meaning}")


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _meaning(error: Exception) -> str:
    """Return what an error of the library says, in words of our own."""
    from obstore import exceptions

    if code := _code(error):
        return _CODES.get(code, f"it refuses ({code})")
    text = str(error).lower()
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return "it refuses the credentials; correct them, or allow them this bucket and prefix"
    if "timed out" in text or "timeout" in text:
        return f"no answer within {_ANSWER_SECONDS:g} s; look at the server and the network"
    if "dns" in text or "connect" in text or "sending request" in text:
        return "no connection; check store_endpoint and the network"
    if status := re.search(r"\b([45]\d\d)\b", text):
        return f"it answers with status {status[1]}; look at its log"
    return f"it cannot be used ({type(error).__name__}); look at its log"
