"""The model repository that a command serves, its own or one exported into the cache; and telling Triton of it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.cli.errors import RunFailure, UsageFailure


def tell(doing: str) -> None:
    """Say on standard error what a long export is at."""
    print(f"mistwatch: {doing}", file=sys.stderr, flush=True)


def name_and_version(model: str) -> tuple[str, int | None]:
    """``NAME@VERSION`` taken apart; the version is None where none is named.

    >>> name_and_version("fights@2"), name_and_version("runs/me@home")
    (('fights', 2), ('runs/me@home', None))
    """
    name, _, number = model.rpartition("@")
    return (name, int(number)) if name and number.isdecimal() else (model, None)


@contextlib.contextmanager
def serving(model: str) -> Iterator[Path]:
    """A repository from which Triton serves ``model``, while this lasts.

    Args:
        model: a built-in model's name, a trained model's folder or a repository of ``mistwatch export``, with
            ``@VERSION`` or without: then the version that the repository names.

    Raises:
        UsageFailure: there is no such model or version.
        RunFailure: it cannot be exported.
    """
    from models.serving.export import SERVED_NAME
    from models.serving.versions import CONFIG_FILE, VersionError, served, versions

    name, number = name_and_version(model)
    is_repository = (Path(name) / SERVED_NAME / CONFIG_FILE).is_file()
    repository = Path(name) if is_repository else repository_of(name)
    home = repository / SERVED_NAME
    try:
        as_it_is = number is None or served(home) == number
    except VersionError as error:
        raise UsageFailure(str(error)) from error
    if as_it_is:
        yield repository
        return
    if number not in (there_are := versions(home)):
        raise UsageFailure(f"{name} has no version {number}; there are {', '.join(map(str, there_are))}")
    with tempfile.TemporaryDirectory(prefix="mistwatch-") as scratch:  # the repository itself is others' business
        pinned = Path(scratch, SERVED_NAME)
        pinned.mkdir()
        (pinned / str(number)).symlink_to((home / str(number)).resolve(), target_is_directory=True)
        policy = f"version_policy {{ specific {{ versions: [ {number} ] }} }}\n"
        config = (home / str(number) / CONFIG_FILE).read_text(encoding="utf-8")
        (pinned / CONFIG_FILE).write_text(policy + config, encoding="utf-8")
        yield Path(scratch)


def repository_of(model: str) -> Path:
    """A repository that serves ``model`` (a built-in model's name, or a folder), from the cache or exported into it.

    Raises:
        UsageFailure: there is no such model.
        RunFailure: it cannot be exported.
    """
    from models.serving.export import ExportError, UnknownModelError, ensure_repository

    try:
        return ensure_repository(model, progress=tell)
    except UnknownModelError as error:
        raise UsageFailure(str(error)) from error
    except ExportError as error:
        raise RunFailure(str(error)) from error


def let_load(model: Path, triton: str, earlier: Sequence[int], *, timeout_seconds: float | None = None) -> None:
    """Have the Triton at ``triton`` serve the version that ``model``, a model's folder, names, and say so.

    Where it does not load that version, the folder is as it was: what cannot be loaded now would be missing at its next
    start. Where there is no Triton, the folder keeps naming the version, for its next start.

    Args:
        earlier: what was served before the version was chosen, as :func:`models.serving.versions.history` has it; empty
            where there is no way back.
        timeout_seconds: for the loading; what a model needs at most when None.

    Raises:
        RunFailure: it is not served, and why.
    """
    from models.serving.versions import served
    from pipeline.scoring.served_model import LOAD_SECONDS, NotLoaded, ScorerUnavailable, load_version

    number = served(model)
    try:
        load_version(triton, model.name, number, timeout_seconds=timeout_seconds or LOAD_SECONDS)
    except NotLoaded as error:
        raise RunFailure(f"{error}; {_take_back(model, number, earlier)}") from error
    except ScorerUnavailable as error:
        raise RunFailure(f"{error}; {model} names version {number}, for Triton's next start") from error
    except KeyboardInterrupt:  # nobody wants to wait for it
        tell(_take_back(model, number, earlier))
        raise
    print(f"Triton at {triton} serves version {number} of {model.name}")


def _take_back(model: Path, number: int, earlier: Sequence[int]) -> str:
    """Undo the choice of version ``number``, unless somebody has chosen another one since; what it is at now."""
    from models.serving.versions import VersionError, locked, put_back, served

    try:
        with locked(model.parent):
            if earlier and served(model) == number:
                put_back(model, earlier)
            now = served(model)
    except (VersionError, OSError) as error:
        return f"{model} still names it: {error}"
    return f"{model} {'still names' if now == number else 'is back at'} version {now}"
