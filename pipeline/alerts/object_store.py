"""An object store that speaks S3: evidence written, listed, read in ranges and removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pipeline.alerts.object_store_errors import ObjectGoneError, StoreError, lacks_bucket, meaning_of
from pipeline.errors import UsageError
from pipeline.secret_file import read_secret
from pipeline.tls import require_readable, verifying_context

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Store

_CONNECT_SECONDS = 5.0
#: A request that is not answered in full for so long has failed: a part of a film, 5 MB, at 0.7 Mbit/s. Seconds.
_ANSWER_SECONDS = 60.0
#: Pieces in which an object is read, bytes.
_PIECE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is and who we are there.

    Attributes:
        uri: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint: of a server that is not AWS, ``https://HOST:PORT``; None: AWS.
        access_key_file, secret_key_file: one line each, read at the start; None: variables of the environment
            (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY…), or the role of the machine or pod.
        ca_file: PEM file of an authority to trust beside the system's; None: the system's alone.
    """

    uri: str
    endpoint: str | None = None
    region: str | None = None
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its key below the prefix, its size in bytes, and Unix time of its last writing in whole seconds."""

    key: str
    size: int
    modified_at: float


class ObjectStore:
    """A bucket's objects below a prefix. Thread-safe; every call waits for the network.

    Args:
        answer_seconds: a request that is not answered in full for so long has failed.

    Raises:
        UsageError: the package is missing, a file of keys or certificates cannot be read, or the address cannot be
            used.
    """

    def __init__(self, address: StoreAddress, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
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
        client: ClientConfig = {
            "allow_http": (address.endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=answer_seconds),
        }
        if address.ca_file is not None:
            client["root_certificate"] = _authority(address.ca_file)
        try:
            self._store: S3Store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options=client,
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

    def put(self, key: str, file: Path) -> int:
        """Write an object from a file; it appears complete or not at all. Return its size in bytes.

        Raises:
            StoreError: the store does not take it.
            OSError: the file cannot be read.
        """
        with file.open("rb") as content:  # stays this version also where another takes the file's place
            self._call(self._store.put, key, content)
            return os.fstat(content.fileno()).st_size

    def list(self, folder: str) -> Iterator[StoredObject]:
        """Yield the objects in a folder and below it, in no order. Raises StoreError."""
        pages = self._call(self._store.list, folder, chunk_size=1000)
        while (page := self._call(next, pages, None)) is not None:
            for one in page:
                yield StoredObject(one["path"], one["size"], one["last_modified"].timestamp())

    def version(self, key: str) -> tuple[int, str | None]:
        """Return the size of an object in bytes, and what tells this version of it from another one.

        Raises:
            ObjectGoneError: it is not there.
            StoreError: the store does not answer, or refuses.
        """
        found = self._call(self._store.head, key)
        return int(found["size"]), found["e_tag"]

    def read(self, key: str, begin: int, end: int, version: str | None = None) -> Iterator[bytes]:
        """Return the bytes from ``begin`` up to ``end`` in pieces, each by a request; the first is made at once.

        A reader may thus pause for as long as it likes. Raises like :meth:`version`, also while it is read, and
        StoreError where the object is not of this version any more.
        """
        condition = {} if version is None else {"if_match": version}

        def piece(at: int) -> bytes:
            until = min(end, at + _PIECE_BYTES)
            answer = self._call(self._store.get, key, options={"range": (at, until), **condition})
            content = bytes(self._call(answer.bytes))
            if len(content) != until - at:
                raise self._error("its answer is too short; look at its log")
            return content

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
            if lacks_bucket(error):
                raise self._error(meaning_of(error)) from None
            raise ObjectGoneError(
                f"evidence store {self.uri}: the object is gone; it was removed or never came"
            ) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._error(meaning_of(error)) from None

    def _error(self, meaning: str) -> StoreError:
        return StoreError(f"evidence store {self.uri}: {meaning}")


def _authority(file: Path) -> bytes:
    """Return a PEM file of certificates. Raises TlsFileError: it cannot be read, or holds none."""
    what = "evidence store TLS"
    verifying_context(what, ca=file)
    return require_readable(f"{what} authority", file)
