"""One tree of errors: whatever the rooms above operators and deploy raise on purpose derives from its root."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

from pipeline.errors import MistwatchError, UsageError

#: Signals of a command to itself, which it catches: no errors.
SIGNALS = {"pipeline/cli/live.py: _Stopped", "pipeline/cli/serve.py: _Stopped"}


def is_builtin_exception(base: ast.expr) -> bool:
    found = getattr(builtins, base.id, None) if isinstance(base, ast.Name) else None
    return isinstance(found, type) and issubclass(found, BaseException)


def test_no_exception_stands_outside_the_tree(root: Path) -> None:
    """Only operators and deploy, which import nothing of ours, have exceptions outside the tree."""
    found = {
        f"{file.relative_to(root)}: {node.name}"
        for room in ("pipeline", "models")
        for file in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.bases and all(map(is_builtin_exception, node.bases))
    }
    assert found == {"pipeline/errors.py: MistwatchError", *SIGNALS}


def test_the_status_is_in_the_tree() -> None:
    assert (MistwatchError.exit_status, UsageError.exit_status) == (1, 2)
