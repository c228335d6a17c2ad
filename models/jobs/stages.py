"""Stages of a job: results are kept, run again when an input changes, and never used half finished.

A stage is a folder below the job's. Its key is a hash of everything that it depends on: its part of the configuration,
the results of the stages before it, and its code. It works in a draft beside that folder. When the work is complete,
``stage.json`` with the key and the hash of each file is written into the draft, and the draft gets the stage's name::

    RUN/.encoder.3f81c2…/     the draft of that key; after a kill the same call continues in it
    RUN/encoder/              complete; replaced as a whole when the stage of another key is complete
    RUN/encoder/stage.json    its inputs, and its files

A stage whose result is used and changed by others has another :class:`Place` than that.

Under ``torchrun`` every process runs the same job. Only the first one works and writes. The others wait for its
``stage.json``, and take part only in stages that all processes work on together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from models.jobs.errors import StageError
from pipeline import files

STAGE_FILE = "stage.json"
#: Folder inside a stage's folder for checkpoints and logs. It is not part of the result. A stage goes
#: on from these alone.
SCRATCH = "scratch"

#: How often a process that waits for the first one looks, seconds.
_LOOK_SECONDS = 0.5
_HASH_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Done:
    """A completed stage.

    Attributes:
        digest: hash of its result. A later stage that finds the same digest again is not run again, whatever the reason
            for which this one was.
        fresh: this call ran it.
    """

    name: str
    folder: Path
    digest: str
    fresh: bool


class Place(Protocol):
    """The destination of the complete result of a stage."""

    def digest(self, key: str) -> str | None:
        """Return the digest of the result of this key; None where it is missing or was changed."""
        ...

    def has(self, key: str) -> bool:
        """Return whether the result of this key is here to be used again, so that the work is not needed."""
        ...

    def take(self, draft: Path, key: str) -> None:
        """Put the complete draft, or the result that is here, in its place; called again after a kill in it.

        Raises:
            OSError: it cannot be written.
        """
        ...


class _OwnFolder:
    """A folder that only the job uses: an earlier result is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def digest(self, key: str) -> str | None:
        return _complete(self._folder, key)

    def has(self, key: str) -> bool:
        return False

    def take(self, draft: Path, key: str) -> None:
        before = _replaced(self._folder)
        if self._folder.exists():
            # A rename cannot replace a folder. After a kill here the next call finds the complete draft.
            files.remove(before)
            self._folder.rename(before)
        draft.rename(self._folder)
        files.remove(before)


class Stages:
    """The stages of one run.

    Args:
        folder: of the run; made when missing.
        only: the one stage that may run; those before it must be up to date. None runs all of them.
        report: called with a line for each stage that is run or up to date.
        rank: of this process among those of ``torchrun``; from the environment when None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        only: str | None = None,
        report: Callable[[str], None] = lambda _line: None,
        rank: int | None = None,
    ) -> None:
        self.folder = folder
        self._only = only
        self._report = report
        #: Whether this process is the one that writes.
        self.first = (int(os.environ.get("RANK", "0")) if rank is None else rank) == 0

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], None],
        *,
        together: bool = False,
        place: Place | None = None,
    ) -> Done:
        """Run a stage, unless its result for the same inputs is in its place.

        Args:
            name: of the stage; may hold slashes.
            inputs: everything that the result depends on; plain JSON.
            work: called with the draft's folder, which may hold files of an earlier call for the same inputs that was
                killed. It writes the result there; files below ``SCRATCH`` are not part of it.
            together: all processes of ``torchrun`` call ``work``; otherwise only the first one.
            place: where the result goes; the stage's own folder when None.

        Raises:
            StageError: only another stage may run, and this one is not up to date; or a folder of the stage's name is
                there that no stage has written.
            OSError: the folder cannot be written.
        """
        key = digest_of(inputs)
        final = self.folder / name
        own = place is None
        place = place or _OwnFolder(final)
        draft = final.with_name(f".{final.name}.{key[:16]}")
        if (digest := place.digest(key)) is not None:
            if self.first:
                self._report(f"{name}: unchanged")
            return Done(name, final, digest, fresh=False)
        if self._only not in (None, name.partition("/")[0]):
            raise StageError(
                f"{self.folder}: the stage {name} has not been run on these inputs; run it first "
                f"(--stage {name.partition('/')[0]}), or leave --stage out"
            )
        if not self.first:
            # After a kill between complete draft and rename the first process does no work, and joining in would wait
            # for it forever. It may rename the draft at any moment, so the draft is looked at before the place.
            if together and _complete(draft, key) is None and place.digest(key) is None:
                work(draft)
            return Done(name, final, _awaited(place, key), fresh=True)
        if _complete(draft, key) is None and not place.has(key):  # else it was killed between its last two steps
            if own:
                self._refuse_foreign(final)
            self._remove_other_drafts(final, draft)
            self._report(f"{name}: {_beginning(draft)}")
            draft.mkdir(parents=True, exist_ok=True)
            (draft / STAGE_FILE).unlink(missing_ok=True)
            work(draft)
            _write_stage_file(draft, name, key, inputs)
        place.take(draft, key)
        digest = place.digest(key)
        assert digest is not None
        return Done(name, final, digest, fresh=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other jobs out of this run's folder while the block runs: two would replace each other's stages.

        Raises:
            StageError: another job is running in it, or it is not a folder.
            OSError: the folder cannot be made.
        """
        if not self.first:
            yield
            return
        first = next(place for place in (self.folder, *self.folder.parents) if place.exists())
        if not first.is_dir():
            raise StageError(f"{first}: not a folder; expected one for the run, or a new name")
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.folder, wait=False))
            except files.LockedError:
                raise StageError(
                    f"{self.folder}: another process is writing there; wait for it, or choose another folder"
                ) from None
            yield

    @staticmethod
    def _refuse_foreign(final: Path) -> None:
        """Raise StageError where a folder of the user's own would be replaced."""
        if final.exists() and not (final / STAGE_FILE).exists():
            raise StageError(
                f"{final}: would be replaced, and no stage has written it (it has no {STAGE_FILE}); choose another "
                "folder for the run, or move this one away"
            )

    @staticmethod
    def _remove_other_drafts(final: Path, draft: Path) -> None:
        """Remove drafts of other inputs, which nothing will complete."""
        for other in final.parent.glob(f".{final.name}.*"):
            if other != draft:
                shutil.rmtree(other)


def _beginning(draft: Path) -> str:
    """Return how a stage begins, for a line of the report."""
    if not draft.exists():
        return "runs"
    return "resumes" if (draft / SCRATCH).exists() else "was stopped, runs again"


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value as JSON; the order of a mapping's keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def written(folder: Path, key: str, *, but: Collection[str] = ()) -> str | None:
    """Return the digest of a stage's files in a folder to which others may add files.

    Args:
        folder: of the stage; may be missing.
        key: of the stage.
        but: files that others may change.

    Returns:
        None where the stage of this key is missing, or one of its files was changed.
    """
    try:
        stage = _recorded(folder)
        if stage["key"] != key:
            return None
        if any(_hash(folder / file) != wanted for file, wanted in stage["files"].items() if file not in but):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return digest_of(stage["files"])


def completed(folder: Path) -> str | None:
    """Return the digest of a stage's folder, whatever its inputs; None where it is missing, incomplete or was changed.

    It is that of :attr:`Done.digest`.
    """
    try:
        key = _recorded(folder)["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _complete(folder, key)


def put_back(folder: Path) -> None:
    """Give a stage's folder its earlier result again, where a kill has come between that and its complete successor.

    The next run of the stage still finds the successor.

    Raises:
        OSError: it cannot be renamed.
    """
    before = _replaced(folder)
    if before.exists() and not folder.exists():
        before.rename(folder)


def _replaced(folder: Path) -> Path:
    """Return the name that a stage's earlier result has while another one takes its place."""
    return folder.with_name(f".{folder.name}.replaced")


def _result_files(folder: Path) -> list[Path]:
    """Return the files of a stage's result, relative to its folder."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if file.parts[0] not in (STAGE_FILE, SCRATCH))


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while chunk := handle.read(_HASH_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write_stage_file(draft: Path, name: str, key: str, inputs: Mapping[str, Any]) -> None:
    """Write the last file of a stage; everything is on the disk before the stage gets its name."""
    files.remove_stale_drafts(draft, STAGE_FILE)
    hashes = {}
    for file in _result_files(draft):
        hashes[file.as_posix()] = _hash(draft / file)
        files.sync(draft / file)
    text = json.dumps({"stage": name, "key": key, "inputs": inputs, "files": hashes}, indent=1, ensure_ascii=False)
    files.write_text(draft / STAGE_FILE, text + "\n")


def _complete(folder: Path, key: str) -> str | None:
    """Return the digest of a folder that holds the result of this key and nothing else; None for any other."""
    digest = written(folder, key)
    if digest is None or [file.as_posix() for file in _result_files(folder)] != sorted(_recorded(folder)["files"]):
        return None
    return digest


def _recorded(folder: Path) -> Any:
    return json.loads((folder / STAGE_FILE).read_text(encoding="utf-8"))


def _awaited(place: Place, key: str) -> str:
    """Wait for the first process; if it fails, ``torchrun`` ends this one too."""
    while (digest := place.digest(key)) is None:
        time.sleep(_LOOK_SECONDS)
    return digest
