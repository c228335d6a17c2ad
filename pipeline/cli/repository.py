"""The model repository that a command serves, its own or one exported into the cache; and telling Triton of it."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.cli.errors import RunFailure, UsageFailure


def tell(doing: str) -> None:
    """Say on standard error what a long export is at."""
    print(f"mistwatch: {doing}", file=sys.stderr, flush=True)


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


def let_load(model: Path, triton: str, previous: int | None) -> None:
    """Have the Triton at ``triton`` serve the version that ``model``, a model's folder, names, and say so.

    Where it cannot load that version, the folder names the ``previous`` one again: what cannot be loaded now would be
    missing at its next start.

    Raises:
        RunFailure: it is not served, and why.
    """
    from models.serving.versions import serve, served
    from pipeline.served_model import ScorerUnavailable, Trouble, load_version

    number = served(model)
    try:
        load_version(triton, model.name, number)
    except ScorerUnavailable as error:
        if error.trouble in (Trouble.FAILED, Trouble.REFUSED) and previous is not None:
            serve(model, previous)
            raise RunFailure(f"{error}; {model} is back at version {previous}") from error
        raise RunFailure(f"{error}; {model} names version {number}, for Triton's next start") from error
    print(f"Triton at {triton} serves version {number} of {model.name}")
