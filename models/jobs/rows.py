"""JSON files of stages. They are written into a stage's draft, which becomes visible as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_json(file: Path, value: Any) -> None:
    """Write a value as JSON. Raises OSError."""
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(file: Path) -> Any:
    """Read a value that :func:`write_json` wrote. Raises OSError."""
    return json.loads(file.read_text(encoding="utf-8"))


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as JSON, a line each. Raises OSError."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read rows that :func:`write_rows` wrote. Raises OSError."""
    # Not splitlines(): a name may hold characters that Unicode counts as the end of a line.
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
