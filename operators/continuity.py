"""Breaks in a segment's stream of scores: a long hole, and another model. Averages and alerts both restart there."""

from __future__ import annotations

from operators.scores import ClipScore


def is_long_hole(last: ClipScore, next_index: int, max_hole: int) -> bool:
    """Return whether more than ``max_hole`` clips lie between ``last`` and ordinal ``next_index`` of its segment."""
    return next_index - last.index - 1 > max_hole


def is_other_model(last: ClipScore, clip: ClipScore) -> bool:
    """Return whether two clips were scored by different models or versions of one."""
    return (last.model, last.model_version) != (clip.model, clip.model_version)
