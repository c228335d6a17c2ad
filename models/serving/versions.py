"""Versions of a served model side by side in one repository, and which of them Triton is to serve::

    clip_scorer/
        config.pbtxt         of the version that is served, and that it is this one
        model-card.json      likewise
        1/                   each version is complete in itself
            config.pbtxt model-card.json model.py …
        2/

To exchange the model is to write ``config.pbtxt`` anew and let Triton load it: it goes on answering with the old
version until the new one is ready. ``config.pbtxt`` also remembers what was served before, so that a rollback goes to
what worked last, and not to a version that was taken back itself; and the highest number that was ever used, so that no
number comes again after its folder was removed by hand.

Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.card import CARD_FILE
from pipeline import files
from pipeline.errors import MistwatchError

CONFIG_FILE = "config.pbtxt"
_BEFORE = re.compile(r"^# Served before, oldest first:((?: \d{1,18})*)\n", re.MULTILINE)
_HIGHEST = re.compile(r"^# Highest number ever used: (\d{1,18})\n", re.MULTILINE)
_POLICY = re.compile(r"^version_policy \{ specific \{ versions: \[ (\d{1,18}) \] \} \}\n", re.MULTILINE)


class VersionError(MistwatchError):
    """A repository has not what is asked of it. One line for an operator."""


@contextlib.contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Nobody else changes which versions there are; the lock leaves nothing behind."""
    folder = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def versions(model: Path) -> list[int]:
    """Numbers of the versions in a model's folder, ascending; none where there is no such folder."""
    if not model.is_dir():
        return []
    return sorted(int(entry.name) for entry in model.iterdir() if entry.name.isdecimal() and entry.is_dir())


def served(model: Path) -> int:
    """The version that Triton is to serve.

    Raises:
        VersionError: there is none.
    """
    return history(model)[-1]


def history(model: Path) -> list[int]:
    """What was served, oldest first; the last one is served now.

    Raises:
        VersionError: there is no version.
    """
    config = _read(model / CONFIG_FILE)
    if (policy := _POLICY.search(config)) is None:  # by an earlier mistwatch: Triton serves the newest
        if not (there_are := versions(model)):
            raise VersionError(f"{model} holds no version of a model")
        return [there_are[-1]]
    earlier = _BEFORE.search(config)
    return [*map(int, earlier[1].split() if earlier else []), int(policy[1])]


def before(model: Path) -> list[int]:
    """The versions that were served before this one and are still there, oldest first."""
    there = versions(model)
    return [number for number in history(model)[:-1] if number in there]


def add(model: Path, draft: Path, *, replace: bool = False) -> int:
    """Make the folder ``draft``, on the same file system, the next version, to be served from now on.

    The number is one that was never used here: a worker that sees it in an answer knows that the model is another one.

    Args:
        draft: complete: ``config.pbtxt``, ``model-card.json``, and what the backend needs. It is moved.
        replace: remove the versions that are there.

    Returns:
        its number.

    Raises:
        VersionError, OSError: the model's folder is as it was.
    """
    old = model.with_name(f".{model.name}.old")
    if model.exists():
        files.remove(old)
    elif old.exists():  # killed in the middle of a replacement
        old.rename(model)
    number = _highest(model) + 1
    draft.chmod(0o755)  # Triton may run as another user
    if model.exists() and not replace:
        serve(model, served(model))  # by an earlier mistwatch: name it, or Triton would serve whatever is newest
        draft.rename(model / str(number))
        serve(model, number)
        return number
    fresh = files.draft_path(model.with_name(f".{model.name}"))
    try:
        fresh.mkdir()
        fresh.chmod(0o755)
        draft.rename(fresh / str(number))
        _point_to(fresh, number, [])
        if model.exists():
            model.rename(old)
        try:
            fresh.rename(model)
        except BaseException:
            if old.exists():
                old.rename(model)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)  # only now: whatever of it stays, the model is whole
    return number


def serve(model: Path, number: int) -> None:
    """Have this version served the next time that Triton loads the model.

    To a version that was served before one goes *back*: what was served after it is forgotten as a place to return to.

    Raises:
        VersionError: there is no such version, or nothing to serve in it.
    """
    if number not in (there_are := versions(model)):
        raise VersionError(f"{model} has no version {number} (there are: {', '.join(map(str, there_are)) or 'none'})")
    earlier = history(model)
    _keep_config(model, earlier[-1])
    if number in earlier:
        earlier = earlier[: earlier.index(number)]
    _point_to(model, number, earlier)


def put_back(model: Path, earlier: Sequence[int]) -> None:
    """Have served what was served at an earlier time, and forget what has been chosen since as if it had never been.

    Args:
        earlier: what :func:`history` said at that time.

    Raises:
        VersionError: that version has gone.
    """
    _keep_config(model, served(model))
    _point_to(model, earlier[-1], list(earlier[:-1]))


def roll_back(model: Path) -> int:
    """Have the version served that was served before this one; returns its number.

    Raises:
        VersionError: there was none.
    """
    if not (earlier := before(model)):
        there_are = ", ".join(map(str, versions(model)))
        raise VersionError(
            f"{model} serves version {served(model)} and has served no other before (there are: {there_are}): "
            "choose one with `mistwatch versions use`"
        )
    serve(model, earlier[-1])
    return earlier[-1]


def _highest(model: Path) -> int:
    """The highest number that a version here ever had; 0 where there was none."""
    try:
        config = (model / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        config = ""
    return max([0, *versions(model), *(int(number) for number in _HIGHEST.findall(config))])


def _keep_config(model: Path, number: int) -> None:
    """What somebody changed in the served version's configuration by hand stays that version's."""
    home = model / str(number)
    if not home.is_dir():
        return
    config = _POLICY.sub("", _HIGHEST.sub("", _BEFORE.sub("", _read(model / CONFIG_FILE))))
    if re.search(r"^\s*version_policy\b", config, re.MULTILINE):
        raise VersionError(f"{model / CONFIG_FILE}: take the version_policy out of it that was written there by hand")
    _write(home / CONFIG_FILE, config)
    if not (home / CARD_FILE).exists() and (model / CARD_FILE).exists():  # by an earlier mistwatch
        _write(home / CARD_FILE, _read(model / CARD_FILE))


def _point_to(model: Path, number: int, served_before: list[int]) -> None:
    home = model / str(number)
    if not (home / CONFIG_FILE).is_file():
        raise VersionError(f"{home} has no {CONFIG_FILE}: it is no version that `mistwatch export` wrote")
    if (home / CARD_FILE).is_file():
        _write(model / CARD_FILE, _read(home / CARD_FILE))
    earlier = f"# Served before, oldest first: {' '.join(map(str, served_before))}\n" if served_before else ""
    highest = f"# Highest number ever used: {max(number, _highest(model))}\n"
    policy = f"version_policy {{ specific {{ versions: [ {number} ] }} }}\n"
    # Last: with it the exchange is made.
    _write(model / CONFIG_FILE, earlier + highest + policy + _read(home / CONFIG_FILE))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise VersionError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VersionError(f"{file}: is not UTF-8: mend it by hand, or export the model anew with --replace") from None


def _write(file: Path, text: str) -> None:
    """The old text or the new one, whenever somebody reads it."""
    if file.exists() and file.read_bytes() == text.encode():
        return
    draft = file.with_name(f".{file.name}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
