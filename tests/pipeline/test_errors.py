"""One tree of errors with the exit status in it; deploy, which imports no other room, has a root of the same form."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

from deploy.errors import DeployError
from deploy.triton.server import NoRepositoryError, TritonError
from pipeline.errors import MistwatchError, UsageError
from pipeline.sources.base import SourceError

#: A signal's way out of whatever the command is doing, which no ``except Exception`` may stop.
SIGNAL = "pipeline/cli/start.py: Stopped"
#: Operators compute and import nothing of ours.
UNDEFINED = "operators/figures/ranked.py: Undefined"
#: Part of version folders, which need nothing of ours.
BACKBONE_AWAY = "models/serving/asked_backbone.py: BackboneAwayError"


def is_builtin_exception(base: ast.expr) -> bool:
    found = getattr(builtins, base.id, None) if isinstance(base, ast.Name) else None
    return isinstance(found, type) and issubclass(found, BaseException)


def test_no_exception_stands_outside_the_trees(root: Path) -> None:
    found = {
        f"{file.relative_to(root)}: {node.name}"
        for room in ("operators", "pipeline", "models", "deploy")
        for file in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.bases and all(map(is_builtin_exception, node.bases))
    }
    assert found == {
        "pipeline/errors.py: MistwatchError",
        "deploy/errors.py: DeployError",
        SIGNAL,
        UNDEFINED,
        BACKBONE_AWAY,
    }


def test_the_status_is_in_the_tree() -> None:
    assert (MistwatchError.exit_status, UsageError.exit_status) == (1, 2)
    assert (DeployError.exit_status, TritonError.exit_status, NoRepositoryError.exit_status) == (1, 1, 2)
    assert SourceError("gate: no such file", code="not_found").exit_status == 2
    assert SourceError("gate: cannot be reached", code="unreachable").exit_status == 1
