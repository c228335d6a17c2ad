"""Model repositories for commands: an existing one or one exported into the cache, and versions that Triton loads."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.side_models import find_side_model
from pipeline.errors import MistwatchError, UsageError

if TYPE_CHECKING:
    from pipeline.scoring.served_model import ServedModel

#: The built-in model that an embedded Triton serves unless another one is named.
DEFAULT_MODEL = "fights"


def report(doing: str) -> None:
    """Print the step of a long export on standard error."""
    print(f"mistwatch: {doing}", file=sys.stderr, flush=True)


def name_and_version(model: str) -> tuple[str, int | None]:
    """Split ``NAME@VERSION``; the version is None where none is named.

    >>> name_and_version("fights@2"), name_and_version("runs/me@home")
    (('fights', 2), ('runs/me@home', None))
    """
    name, _, number = model.rpartition("@")
    return (name, int(number)) if name and number.isdecimal() else (model, None)


def require_model(model: str, found: ServedModel, address: str) -> None:
    """Check that the Triton at ``address`` serves the requested model.

    Args:
        model: as of :func:`serving`.
        found: what is served there.

    Raises:
        UsageError: it serves another model or another version.
    """
    from models.card import CARD_FILE, read_card
    from models.serving import versions

    name, number = name_and_version(model)
    folder = Path(name)
    if versions.served_models(folder):
        folder = versions.find_served(folder)
        number = number or versions.served(folder)
    known_as = read_card(folder).name if (folder / CARD_FILE).is_file() else name
    if found.name != known_as or (number is not None and found.version != str(number)):
        raise UsageError(
            f"Triton at {address} serves {found.name} version {found.version}, not {model}: leave out --model to "
            "score with what it serves, or leave out --triton"
        )


@contextlib.contextmanager
def serving(model: str) -> Iterator[Path]:
    """Yield a repository from which Triton serves ``model`` while the block runs.

    Args:
        model: a built-in model's name, a trained model's folder or a repository of ``mistwatch export``, with
            ``@VERSION`` or without: then the version that the repository names.

    Raises:
        UsageError: the model or the version is unknown.
        MistwatchError: it cannot be exported.
    """
    from models.serving.versions import find_served, link_version, served, served_models, versions

    name, number = name_and_version(model)
    if (side := find_side_model(name)) is not None:
        raise UsageError(f"{name} is {side.words}, which scores no clips; expected a detector")
    repository = Path(name) if served_models(Path(name)) else repository_of(name)
    if number is None or served(home := find_served(repository)) == number:
        yield repository
        return
    if number not in (numbers := versions(home)):
        raise UsageError(f"{name} has no version {number}; there are {', '.join(map(str, numbers))}")
    with tempfile.TemporaryDirectory(prefix="mistwatch-") as scratch:  # the repository itself stays as it is
        link_version(home, number, Path(scratch, home.name))
        yield Path(scratch)


@contextlib.contextmanager
def serving_together(models: Mapping[str, str]) -> Iterator[Path]:
    """Yield a repository from which Triton serves several models while the block runs.

    Args:
        models: as :func:`repository_of` takes them, by the names under which they are served.

    Raises:
        UsageError: a model is unknown.
        MistwatchError: a model cannot be exported.
    """
    from models.serving.versions import find_served, link_version, served

    with tempfile.TemporaryDirectory(prefix="mistwatch-") as scratch:
        for name, model in models.items():
            home = find_served(repository_of(model))
            link_version(home, served(home), Path(scratch, name))
        yield Path(scratch)


def repository_of(model: str) -> Path:
    """Return a repository that serves ``model``, a detector or a model of another kind, from the user's cache.

    Args:
        model: a built-in model's name, or a trained model's folder.

    Raises:
        UsageError: the model is unknown.
        MistwatchError: it cannot be exported.
    """
    from models.serving.export import ensure_repository

    if (side := find_side_model(model)) is not None:
        return side.ensure_repository(side.folder)
    return ensure_repository(model, progress=report)


def let_load(model: Path, triton: str, earlier: Sequence[int], *, timeout_seconds: float | None = None) -> None:
    """Let the Triton at ``triton`` load the version that ``model``, a served model's folder, names, and print that.

    If it does not load that version, the folder becomes as it was: a version that cannot be loaded now would be missing
    at Triton's next start. If there is no Triton, the folder keeps naming the version, for its next start.

    Args:
        triton: ``HOST:PORT``.
        earlier: versions that were served before this one was chosen, as :func:`models.serving.versions.history` has
            them; empty where there is no way back.
        timeout_seconds: for the loading; the most that a model needs when None.

    Raises:
        MistwatchError: it is not served.
    """
    from models.serving.versions import backbone_of, served
    from pipeline.scoring.served_model import LOAD_SECONDS, NotLoaded, ScorerUnavailable, load_version

    number = served(model)
    try:
        if (backbone := backbone_of(model / str(number))) is not None:
            load_version(triton, backbone, 1, timeout_seconds=timeout_seconds or LOAD_SECONDS)
        load_version(triton, model.name, number, timeout_seconds=timeout_seconds or LOAD_SECONDS)
    except NotLoaded as error:
        raise MistwatchError(f"{error}; {_take_back(model, number, earlier)}") from error
    except ScorerUnavailable as error:
        raise MistwatchError(f"{error}; {model} names version {number}, for Triton's next start") from error
    except KeyboardInterrupt:  # the operator does not want to wait
        report(_take_back(model, number, earlier))
        raise
    print(f"Triton at {triton} serves version {number} of {model.name}")


def let_score(host: Path, part: str, triton: str, earlier: Sequence[int]) -> None:
    """Check that the Triton at ``triton`` scores with the version that a part names, and print that.

    A hosting model that Triton has not loaded yet is loaded. If Triton cannot open the version, or keeps the former one
    because this one needs later code than it has loaded, the part becomes as it was.

    Args:
        host: the hosting model's folder.
        triton: ``HOST:PORT``.
        earlier: as for :func:`let_load`.

    Raises:
        MistwatchError: it is not served.
    """
    from models.serving.versions import find_part, served
    from pipeline.scoring.served_model import ScorerError, ScorerUnavailable, Trouble, load_version, served_model

    folder = find_part(host, part)
    number = served(folder)
    try:
        try:
            found = served_model(triton, host.name, part=part)
        except ScorerUnavailable as error:
            if error.trouble is not Trouble.NOT_READY:
                raise
            load_version(triton, host.name, served(host))
            found = served_model(triton, host.name, part=part)
    except ScorerError as error:
        unusable = not isinstance(error, ScorerUnavailable) or error.trouble is Trouble.PART
        if not unusable:
            raise MistwatchError(f"{error}; {folder} names version {number}, for when it is there") from error
        raise MistwatchError(f"{error}; {_take_back(folder, number, earlier, lock=host.parent)}") from error
    loaded, _, scored = found.version.rpartition(".")
    if scored != str(number) and loaded != str(served(host)):
        raise MistwatchError(
            f"Triton at {triton} has loaded version {loaded} of {host.name}, whose code keeps version {scored} of the "
            f"part {part}; expected version {served(host)}: load it with `mistwatch versions use --triton` without "
            f"--part; {_take_back(folder, number, earlier, lock=host.parent)}"
        )
    if scored != str(number):
        raise MistwatchError(
            f"Triton at {triton} scores with version {found.version} of the part {part}, and {folder} names {number}: "
            "was it started with another repository?"
        )
    print(f"Triton at {triton} scores with version {number} of the part {part} of {host.name}")


def _take_back(model: Path, number: int, earlier: Sequence[int], *, lock: Path | None = None) -> str:
    """Undo the choice of version ``number``, unless another one has been chosen since; describe the result.

    Args:
        lock: the repository; by default the folder of ``model``.
    """
    from models.serving.versions import VersionError, locked, put_back, served

    try:
        with locked(lock or model.parent):
            if earlier and served(model) == number:
                put_back(model, earlier)
            now = served(model)
    except (VersionError, OSError) as error:
        return f"{model} still names it: {error}"
    return f"{model} {'still names' if now == number else 'is back at'} version {now}"
