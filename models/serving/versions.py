"""Versions of a served model side by side in one repository, and the choice of the one that Triton serves::

    clip_scorer/
        config.pbtxt         of the version that is served, and that it is this one
        model-card.json      likewise
        1/                   each version is complete in itself
            config.pbtxt model-card.json model.py …
        2/

The model is exchanged by rewriting ``config.pbtxt`` and letting Triton load it: Triton answers with the old version
until the new one is ready. ``config.pbtxt`` also lists the versions that were served before, so that a rollback
goes to the last one that worked, and not to a version that was taken back itself; and the highest number that was ever
used, so that no number is used twice after its folder was removed by hand.

The parts of a model that hosts them (:mod:`models.serving.parts`) are laid out alike, so that all this holds for a
part, too. A part is exchanged without Triton loading anything.

Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.card import CARD_FILE
from models.serving.contract import BACKBONE_PREFIX, CONFIG_FILE, PARTS_FOLDER
from models.serving.over_backbone import read_backbone
from models.serving.parts import HOST_VERSION, part_names, read_parameters
from pipeline import files
from pipeline.errors import UsageError

_BEFORE = re.compile(r"^# Served before, oldest first:((?: \d{1,18})*)\n", re.MULTILINE)
_HIGHEST = re.compile(r"^# Highest number ever used: (\d{1,18})\n", re.MULTILINE)
_POLICY = re.compile(r"^version_policy \{ specific \{ versions: \[ (\d{1,18}) \] \} \}\n", re.MULTILINE)
_NAME = re.compile(r"^name: .*$", re.MULTILINE)


class VersionError(UsageError):
    """The repository lacks the requested model or version."""


@contextlib.contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Keep other processes from changing the repository's versions; the lock leaves nothing behind.

    Raises:
        OSError: the folder is missing.
    """
    if not repository.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(repository))
    with files.locked(repository):
        yield


def served_models(repository: Path) -> list[str]:
    """Return the names of the served models in a repository, sorted; empty if the folder is missing.

    Shared backbones are left out: they are parts of the models that stand on them.

    Raises:
        OSError: the repository cannot be read.
    """
    if not repository.is_dir():
        return []
    folders = [entry for entry in repository.iterdir() if not entry.name.startswith((".", BACKBONE_PREFIX))]
    return sorted(folder.name for folder in folders if (folder / CONFIG_FILE).is_file())


def find_served(repository: Path, name: str | None = None) -> Path:
    """Return the folder of a served model.

    Args:
        repository: as ``mistwatch export`` wrote it.
        name: of the served model; None is the only one.

    Raises:
        VersionError: the model is missing, or the repository holds several and none is named.
        OSError: the repository cannot be read.
    """
    found = served_models(repository)
    if not found:
        raise VersionError(f"{repository}: not a repository that `mistwatch export` wrote (no */{CONFIG_FILE})")
    if name is None and len(found) > 1:
        raise VersionError(f"{repository} holds several models ({', '.join(found)}): choose one with --model")
    if name is not None and name not in found:
        raise VersionError(f"{repository} has no model {name!r} (it has: {', '.join(found)})")
    return repository / (name or found[0])


def parts(model: Path) -> list[str]:
    """Return the names of the parts that a served model hosts, sorted; empty for a model without parts."""
    return part_names(model / PARTS_FOLDER)


def find_part(model: Path, name: str) -> Path:
    """Return the folder of a part of the served model in ``model``. Raises VersionError: it has none of that name."""
    if name not in (found := parts(model)):
        has = f"it has: {', '.join(found)}" if found else "it hosts none"
        raise VersionError(f"{model} has no part {name!r} ({has})")
    return model / PARTS_FOLDER / name


def parts_beyond(model: Path) -> list[str]:
    """Return the names of the parts that need a later version of their hosting model than the served one, sorted."""
    current = served(model)
    beyond = []
    for name in parts(model):
        with contextlib.suppress(VersionError, ValueError):  # a damaged part needs nothing
            settings = read_parameters(_read(model / PARTS_FOLDER / name / CONFIG_FILE))
            if int(settings.get(HOST_VERSION, 0)) > current:
                beyond.append(name)
    return beyond


def versions(model: Path) -> list[int]:
    """Return the numbers of the versions in a model's folder, ascending; empty if the folder is missing."""
    if not model.is_dir():
        return []
    return sorted(int(entry.name) for entry in model.iterdir() if entry.name.isdecimal() and entry.is_dir())


def served(model: Path) -> int:
    """Return the version that Triton serves from its next load on. Raises VersionError: there is none."""
    return history(model)[-1]


def history(model: Path) -> list[int]:
    """Return the versions that were served, oldest first; the last one is served now.

    Raises:
        VersionError: there is no version.
    """
    config = _read(model / CONFIG_FILE)
    if (policy := _POLICY.search(config)) is None:  # by an earlier mistwatch: Triton serves the newest
        if not (numbers := versions(model)):
            raise VersionError(f"{model} holds no version of a model")
        return [numbers[-1]]
    earlier = _BEFORE.search(config)
    return [*map(int, earlier[1].split() if earlier else []), int(policy[1])]


def before(model: Path) -> list[int]:
    """Return the versions that were served before this one and still exist, oldest first."""
    existing = versions(model)
    return [number for number in history(model)[:-1] if number in existing]


def add(model: Path, draft: Path, *, replace: bool = False) -> int:
    """Make the folder ``draft``, on the same file system, the next version, to be served from now on.

    The number is one that was never used here: a worker that sees it in an answer knows that the model is another one.

    Args:
        draft: complete: ``config.pbtxt``, ``model-card.json``, and the backend's files. It is moved.

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

    A version that was served before is a way *back*: those that were served after it are forgotten.

    Raises:
        VersionError: there is no such version, or it is empty.
    """
    if number not in (numbers := versions(model)):
        raise VersionError(f"{model} has no version {number} (there are: {', '.join(map(str, numbers)) or 'none'})")
    earlier = history(model)
    _keep_config(model, earlier[-1])
    if number in earlier:
        earlier = earlier[: earlier.index(number)]
    _point_to(model, number, earlier)


def put_back(model: Path, earlier: Sequence[int]) -> None:
    """Serve what was served at an earlier time, and forget the choices since then.

    Args:
        earlier: the result of :func:`history` at that time.

    Raises:
        VersionError: that version has gone.
    """
    _keep_config(model, served(model))
    _point_to(model, earlier[-1], list(earlier[:-1]))


def roll_back(model: Path) -> int:
    """Serve the version that was served before this one, and return its number. Raises VersionError: there was none."""
    if not (earlier := before(model)):
        numbers = ", ".join(map(str, versions(model)))
        raise VersionError(
            f"{model} serves version {served(model)} and has served no other before (there are: {numbers}): "
            "choose one with `mistwatch versions use`"
        )
    serve(model, earlier[-1])
    return earlier[-1]


def _highest(model: Path) -> int:
    """Return the highest number that a version here ever had; 0 where there was none."""
    try:
        config = (model / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        config = ""
    return max([0, *versions(model), *(int(number) for number in _HIGHEST.findall(config))])


def _keep_config(model: Path, number: int) -> None:
    """Keep changes that were made by hand in the served version's configuration, in that version's own."""
    home = model / str(number)
    if not home.is_dir():
        return
    config = _POLICY.sub("", _HIGHEST.sub("", _BEFORE.sub("", _read(model / CONFIG_FILE))))
    if re.search(r"^\s*version_policy\b", config, re.MULTILINE):
        raise VersionError(f"{model / CONFIG_FILE}: take the version_policy out of it that was written there by hand")
    _write(home / CONFIG_FILE, config)
    if not (home / CARD_FILE).exists() and (model / CARD_FILE).exists():  # by an earlier mistwatch
        _write(home / CARD_FILE, _read(model / CARD_FILE))


def backbone_of(version: Path) -> str | None:
    """Return the name of the backbone that a version shares with others of its repository; None where it has its own.

    Raises:
        VersionError: it cannot be read.
    """
    try:
        found = read_backbone(version)
    except RuntimeError as error:
        raise VersionError(str(error)) from None
    return None if found is None else found.model


def link_version(model: Path, number: int, into: Path) -> None:
    """Make ``into`` a served model of that folder's name, which has version ``number`` of ``model`` alone, by a link.

    Parts that the model hosts are linked too, and the backbone that it shares, beside ``into``.

    Raises:
        OSError: the version is missing, or ``into`` exists or cannot be made.
    """
    home = (model / str(number)).resolve()
    into.mkdir()
    (into / str(number)).symlink_to(home, target_is_directory=True)
    if (hosted := (model / PARTS_FOLDER).resolve()).is_dir():
        (into / PARTS_FOLDER).symlink_to(hosted, target_is_directory=True)
    if (backbone := backbone_of(home)) is not None and not (beside := into.with_name(backbone)).exists():
        beside.symlink_to((model.parent / backbone).resolve(), target_is_directory=True)
    named = _NAME.sub(f"name: {json.dumps(into.name)}", _read(home / CONFIG_FILE), count=1)
    _write(into / CONFIG_FILE, _policy(number) + named)


def _policy(number: int) -> str:
    return f"version_policy {{ specific {{ versions: [ {number} ] }} }}\n"


def _point_to(model: Path, number: int, served_before: list[int]) -> None:
    home = model / str(number)
    if not (home / CONFIG_FILE).is_file():
        raise VersionError(f"{home} has no {CONFIG_FILE}: it is not a version that `mistwatch export` wrote")
    if (home / CARD_FILE).is_file():
        _write(model / CARD_FILE, _read(home / CARD_FILE))
    earlier = f"# Served before, oldest first: {' '.join(map(str, served_before))}\n" if served_before else ""
    highest = f"# Highest number ever used: {max(number, _highest(model))}\n"
    # Last: with it the exchange is made.
    _write(model / CONFIG_FILE, earlier + highest + _policy(number) + _read(home / CONFIG_FILE))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise VersionError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VersionError(
            f"{file}: is not UTF-8: repair it by hand, or export the model again with --replace"
        ) from None


def _write(file: Path, text: str) -> None:
    if not file.exists() or file.read_bytes() != text.encode():
        files.write_text(file, text)
