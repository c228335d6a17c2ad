"""Processor time of processes, from /proc; for benches."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_seconds(root: int | None = None) -> float:
    """Return the processor time of a process, by default this one, and of its descendants that still run, seconds."""
    parents, spent = _processes()
    root = os.getpid() if root is None else root
    return sum(seconds for pid, seconds in spent.items() if _descends(pid, root, parents))


def tree_pids(root: int | None = None) -> list[int]:
    """Return the numbers of a process, by default this one, and of all processes that descend from it."""
    parents, spent = _processes()
    root = os.getpid() if root is None else root
    return [pid for pid in spent if _descends(pid, root, parents)]


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    """Return the parents of all processes that run, and the processor time of each."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(entry.parent.name)
        parents[pid], spent[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS
    return parents, spent


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != root:
        pid = parents[pid]
    return pid == root
