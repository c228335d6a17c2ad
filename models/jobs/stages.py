"""Stages of a job: what is done is kept, what has changed is done again, and what is half done is never taken for done.

A stage is a folder below the job's. Its key is a hash of all that it depends on: its part of the configuration, what
the stages before it have written, and its code. It works in a draft beside that folder; when it is through,
``stage.json`` with the key and the hash of each file is written into the draft, and then the draft is given the
stage's name::

    RUN/.encoder.3f81c2…/     the draft of that key: after a kill the same call finds it and may go on from it
    RUN/encoder/              whole; replaced as one when a stage of another key is through
    RUN/encoder/stage.json    what it depended on, and what it holds

A stage whose result people use, and may have changed, has another :class:`Place` than that.

Under ``torchrun`` every process runs the same job. The first alone works and writes; the others wait for its
``stage.json``, and join only where a stage says that all of them work together.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import MistwatchError

STAGE_FILE = "stage.json"
#: Below a stage's folder: what helps it on after a kill, and its logs. No part of what the next stages read.
SCRATCH = "scratch"

#: How often a process that waits for the first one looks, seconds.
_LOOK_SECONDS = 0.5
_HASH_BYTES = 1 << 22
_OUR_PACKAGES = ("operators", "pipeline", "models")


class StageError(MistwatchError):
    """A stage cannot be run or read. One line that names it and what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is through.

    Attributes:
        name: the stage.
        folder: what it wrote.
        digest: hash of what it wrote. A stage that depends on this one and finds the same digest again is not run
            again, whatever the reason was that this one was.
        fresh: this call ran it.
    """

    name: str
    folder: Path
    digest: str
    fresh: bool


class Place(Protocol):
    """Where a stage's result goes when it is whole."""

    def digest(self, key: str) -> str | None:
        """Of what the stage of this key has written; None where it is not there, or not as it was written."""
        ...

    def has(self, key: str) -> bool:
        """Whether it is there to be taken again, so that the work need not be done."""
        ...

    def take(self, draft: Path, key: str) -> None:
        """Give the draft that is through its place, or its place to what is there; killed here, it is called again.

        Raises:
            OSError: it cannot be written.
        """
        ...


class _OwnFolder:
    """A folder that is the job's alone: what was there before is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def digest(self, key: str) -> str | None:
        return _finished(self._folder, key)

    def has(self, key: str) -> bool:
        return False

    def take(self, draft: Path, key: str) -> None:
        if self._folder.exists():
            # Renaming cannot replace a folder; one that is killed here finds the finished draft next time.
            shutil.rmtree(self._folder)
        draft.rename(self._folder)


class Stages:
    """The stages of one run.

    Args:
        folder: of the run; made when missing.
        only: the one stage that may run; those before it must be up to date. All of them when None.
        tell: told, a line each, what is run and what is not.
        rank: of this process among those of ``torchrun``; from the environment when None.
    """

    def __init__(
        self,
        folder: Path,
        *,
        only: str | None = None,
        tell: Callable[[str], None] = lambda _line: None,
        rank: int | None = None,
    ) -> None:
        self.folder = folder
        self._only = only
        self._tell = tell
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
        """Do a stage, unless what it wrote for the same inputs is there.

        Args:
            name: of the stage; may hold slashes.
            inputs: all that it depends on, as JSON can hold it.
            work: given the draft's folder, which may hold what an earlier call for the same inputs had written before
                it was killed; writes everything into it. Everything but what is below ``SCRATCH`` is its result.
            together: all processes of ``torchrun`` call ``work``; else the first one alone.
            place: where the result goes; the stage's own folder when None.

        Raises:
            StageError: another stage alone was to run, and this one is not up to date.
            OSError: the folder cannot be written.
        """
        key = digest_of(inputs)
        final = self.folder / name
        place = place or _OwnFolder(final)
        draft = final.with_name(f".{final.name}.{key[:16]}")
        if (digest := place.digest(key)) is not None:
            if self.first:
                self._tell(f"{name}: unchanged")
            return Done(name, final, digest, fresh=False)
        if self._only not in (None, name.partition("/")[0]):
            raise StageError(
                f"{self.folder}: the stage {name} has not been run on these inputs; run it first "
                f"(--stage {name.partition('/')[0]}), or leave --stage out"
            )
        if not self.first:
            # Where the last run was killed before its draft had the stage's name, the first process works no more, and
            # to join in would be to wait for it for ever. It may give the name at any moment: hence the draft is first.
            if together and _finished(draft, key) is None and place.digest(key) is None:
                work(draft)
            return Done(name, final, _awaited(place, key), fresh=True)
        # Not where it was killed between its last two steps.
        if _finished(draft, key) is None and not place.has(key):
            self._clear(final, draft)
            self._tell(f"{name}: goes on from where it was stopped" if draft.exists() else f"{name}: runs")
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
        """Keep other jobs out of this run's folder: two would replace each other's stages.

        Raises:
            StageError: one is there.
            OSError: the folder cannot be made.
        """
        if not self.first:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StageError(
                    f"{self.folder}: another training is at work there; wait for it, or choose another folder"
                ) from None
            yield
        finally:
            os.close(handle)

    @staticmethod
    def _clear(final: Path, draft: Path) -> None:
        """Drafts of other inputs will not be finished."""
        for other in final.parent.glob(f".{final.name}.*"):
            if other != draft:
                shutil.rmtree(other)


def digest_of(value: Any) -> str:
    """SHA-256 of a value as JSON; the order of a mapping's keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(modules: Sequence[str]) -> str:
    """Return the SHA-256 of the modules' syntax trees.

    Comments, docstrings and layout do not matter, nor do the modules' names and the places from which they import one
    another: kept work survives a move of its code into another folder.

    Args:
        modules: full names; none of them is imported.

    Raises:
        ValueError: there is no such module, or it has no source.
    """
    trees = []
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            raise ValueError(f"{name}: no module with a source")
        trees.append(_bare_tree(Path(spec.origin).read_text(encoding="utf-8")))
    return digest_of(sorted(trees))


def _bare_tree(source: str) -> str:
    """Return the syntax tree as text, without docstrings and without the modules that our own names come from."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _OUR_PACKAGES:
            node.module = "ours"
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest
    return ast.dump(tree)


def _files(folder: Path) -> list[Path]:
    """What counts as a stage's result, relative to its folder."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if file.parts[0] not in (STAGE_FILE, SCRATCH))


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while chunk := handle.read(_HASH_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write_stage_file(draft: Path, name: str, key: str, inputs: Mapping[str, Any]) -> None:
    """The last file of a stage; it and the others are on the disk before the stage gets its name."""
    hashes = {}
    for file in _files(draft):
        hashes[file.as_posix()] = _hash(draft / file)
        _sync(draft / file)
    text = json.dumps({"stage": name, "key": key, "inputs": inputs, "files": hashes}, indent=1, ensure_ascii=False)
    unfinished = draft / f".{STAGE_FILE}.tmp"
    unfinished.write_text(text + "\n", encoding="utf-8")
    _sync(unfinished)
    unfinished.replace(draft / STAGE_FILE)
    _sync(draft)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finished(folder: Path, key: str) -> str | None:
    """The digest of what a stage of this key has written; None where it is not there, or not as it was written."""
    digest = written(folder, key)
    if digest is None or [file.as_posix() for file in _files(folder)] != sorted(_recorded(folder)["files"]):
        return None
    return digest


def written(folder: Path, key: str, *, but: Collection[str] = ()) -> str | None:
    """The digest of what a stage of this key has written into a folder where others may add files.

    Args:
        folder: of the stage; there may be none.
        key: of the stage.
        but: files that others may change.

    Returns:
        None where it is not there, or not as it was written.
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


def _recorded(folder: Path) -> Any:
    return json.loads((folder / STAGE_FILE).read_text(encoding="utf-8"))


def _awaited(place: Place, key: str) -> str:
    """Wait for the first process; if it fails, ``torchrun`` ends this one too."""
    while (digest := place.digest(key)) is None:
        time.sleep(_LOOK_SECONDS)
    return digest
