"""The model repository that a command serves: the user's own, or one exported into the cache."""

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
