"""What tests ask about processes."""

from __future__ import annotations

from pathlib import Path


def process_exists(pid: int) -> bool:
    """Whether it is there and more than an entry that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
