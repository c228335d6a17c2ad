"""The files that alerts name as evidence, found in the evidence folder or the object store, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from pipeline.alerts.evidence_folder import file_name
from pipeline.alerts.object_store import ObjectStore

#: Files that are served, with their types.
TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".heat": "application/octet-stream",
    ".json": "application/json",
}
_PICTURES = (".jpg", ".jpeg", ".png")

#: Site, worker, camera, file; S3 takes 1024 bytes.
_KEY_PARTS, _LONGEST_KEY = 4, 1024

Found = Literal["there", "gone", "none", "remote"]


class EvidenceFiles:
    """The evidence folder; None: the console has none, and no file is served.

    A URI of another machine is looked for by its last two names, CAMERA/NAME, as the folder may be mounted elsewhere.

    Args:
        store: where the workers keep their evidence, too. What is not in the folder is read from there; a URI of the
            store counts as there until it is asked for, as to ask about each alert of a list would take too long.
        site: objects of this site alone are served; None: of all sites in the store.
    """

    def __init__(self, folder: Path | None, store: ObjectStore | None = None, site: str | None = None) -> None:
        self._folder = None if folder is None else folder.absolute()
        self.store = store
        self._site = None if site is None else file_name(site)

    def url(self, uri: str) -> str | None:
        """Return the address at which the console serves the file of a URI; None: it is not a file in the folder."""
        path = self._path_of(uri)
        if path is None or self._folder is None:
            key = None if self.store is None else self.store.key_of(uri)
            return None if key is None or self.key(key) is None else "/evidence/" + quote(key)
        return "/evidence/" + quote(path.relative_to(self._folder).as_posix())

    def pictures(self, uris: tuple[str, ...]) -> list[str]:
        """Return the addresses of the pictures among URIs that are there."""
        paths = [uri for uri in uris if Path(urlsplit(uri).path).suffix.lower() in _PICTURES]
        return [url for uri in paths if (url := self.url(uri)) is not None]

    def state(self, uris: tuple[str, ...]) -> Found:
        """Return whether a picture of these can be shown."""
        if not uris:
            return "none"
        if self.pictures(uris):
            return "there"
        return "remote" if self._folder is None or all(urlsplit(uri).scheme != "file" for uri in uris) else "gone"

    def key(self, name: str) -> str | None:
        """Return the key of a path below ``/evidence/`` in the store; None: not one that may be served.

        Keys have four names: site, worker, camera, file.
        """
        parts = name.split("/")
        if self.store is None or len(parts) != _KEY_PARTS or len(name) > _LONGEST_KEY or not name.isprintable():
            return None
        if any(not part or part.startswith(".") or "\\" in part for part in parts):
            return None
        if self._site is not None and parts[0] != self._site:
            return None
        return name if Path(name).suffix.lower() in TYPES else None

    def file(self, name: str) -> Path | None:
        """Return the file of a path below ``/evidence/``; None: not one that may be served."""
        if self._folder is None or "\0" in name:
            return None
        return self._confined(self._folder / name)

    def _path_of(self, uri: str) -> Path | None:
        if self._folder is None:
            return None
        try:
            parts = urlsplit(uri)
            path = Path(unquote(parts.path))
        except ValueError:
            return None
        if parts.scheme not in ("file", "s3") or not path.is_absolute():
            return None
        candidates = [path] if parts.scheme == "file" and path.is_relative_to(self._folder) else []
        candidates.append(self._folder.joinpath(*path.parts[-2:]))
        return next((found for one in candidates if (found := self._confined(one)) is not None), None)

    def _confined(self, path: Path) -> Path | None:
        """Return a path where it is a file of a served type inside the folder, also after links are followed."""
        assert self._folder is not None
        try:
            if path.suffix.lower() not in TYPES or ".." in path.parts or not path.is_relative_to(self._folder):
                return None
            hidden = any(part.startswith(".") for part in path.relative_to(self._folder).parts)
            if hidden or not path.is_file() or not path.resolve().is_relative_to(self._folder.resolve()):
                return None
        except (ValueError, OSError):  # a name with a null byte, one that is too long
            return None
        return path
