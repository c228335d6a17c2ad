"""The files in which a bench records its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def record(folder: Path, name: str, results: dict[str, Any], page: str) -> None:
    """Write ``name.json`` with the results and ``name.md`` with their page; the folder is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
