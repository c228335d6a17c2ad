"""The legend of a run: which camera is which source."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from pipeline.sources.credentials import shown


def legend(cameras: Mapping[str, str]) -> Iterable[str]:
    """Yield a line for each camera, with its source as it may be shown."""
    for name, source in cameras.items():
        yield f"camera {name}: {shown(source)}"


def print_legend(cameras: Mapping[str, str]) -> None:
    """Print the legend on standard error."""
    for line in legend(cameras):
        print(line, file=sys.stderr)
