"""The callbacks of a source for a one-shot command: a camera that is away at the start is an error, later it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sources.factory import SourceCallbacks
    from pipeline.sources.reconnect import Outage


def impatient_callbacks(report: Callable[[str], None]) -> SourceCallbacks:
    """Return callbacks that raise SourceError for an outage before the first picture, and report later ones.

    Args:
        report: called with a line on each later outage, and on the stream that is watched among several.
    """
    from pipeline.sources.base import SourceError
    from pipeline.sources.factory import SourceCallbacks

    was_connected = False

    def on_connected(_camera: str) -> None:
        nonlocal was_connected
        was_connected = True

    def on_outage(outage: Outage) -> None:
        if not was_connected:
            raise SourceError(outage.message, code=outage.code)
        report(f"{outage.message}; next attempt in {outage.retry_in_seconds:.0f} s")

    return SourceCallbacks(on_outage=on_outage, on_connected=on_connected, on_choice=report)
