"""Causes that no clip could be cut from a recording, or from a part of it, for people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.sources.frame_index import FrameIndex
from pipeline.windows import ClipSpec, longest_spacing

#: So many pictures by themselves are a sparse part of a recording; fewer are the pauses of one that is not.
_SPARSE_PICTURES = 3


def why_no_clip(index: FrameIndex, spec: ClipSpec) -> str:
    """Return why no clip was cut from a recording: too short, too sparse, or without a long enough stretch.

    Args:
        index: its pictures.
    """
    pictures, limit = len(index), longest_spacing(spec)
    need = _need(spec)
    if pictures < spec.frames:
        return f"{pictures} frames, too short for a clip of {need}"
    spacings = _spacings(index)
    usual = float(np.median(spacings[spacings > 0])) if (spacings > 0).any() else 0.0
    if usual > limit:
        rate = f"sparse footage: {pictures} frames, one in {usual:.3g} s ({1 / usual:.2g} a second)"
        advice = f"for a model of such footage set the fps of clips to {1 / usual:.2g}"
        return f"{rate}; a clip needs {need}, at most {limit:.3g} s apart ({advice})"
    borders = np.flatnonzero(_is_border(index, spacings, limit)) + 1
    runs = np.split(index.times, borders)
    longest = max(runs, key=len)
    if len(longest) < spec.frames:
        return f"{pictures} frames in {len(runs)} stretches, the longest of {len(longest)}; a clip needs {need} in one"
    seconds = max(float(run[-1] - run[0]) for run in runs) + usual
    return f"{pictures} frames, the longest stretch of {seconds:.3g} s, too short for a clip of {need}"


def sparse_part(index: FrameIndex, spec: ClipSpec) -> str | None:
    """Return one line on the pictures that are too far from any other to be in a clip; None where there are few."""
    spacings, limit = _spacings(index), longest_spacing(spec)
    is_border = _is_border(index, spacings, limit)
    is_alone = np.append(True, is_border) & np.append(is_border, True)
    if is_alone.sum() < _SPARSE_PICTURES:
        return None
    gaps = spacings[(is_alone[:-1] | is_alone[1:]) & (spacings > 0)]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    alone = f"{is_alone.sum()} of {len(index)} frames are in no clip: one in {usual:.3g} s, over {gaps.sum():.3g} s"
    return f"{alone}; a clip needs {_need(spec)}, at most {limit:.3g} s apart"


def _need(spec: ClipSpec) -> str:
    if spec.fps is None:
        return f"{spec.frames}"
    return f"{spec.frames} at {spec.fps:.3g} a second ({spec.frames / spec.fps:.3g} s)"


def _spacings(index: FrameIndex) -> npt.NDArray[np.float64]:
    """Return the seconds from each picture to the next one, float64 (n - 1,); below 0 where the clock was set back."""
    finite = np.where(np.isfinite(index.times), index.times, 0.0)
    return np.diff(finite)


def _is_border(index: FrameIndex, spacings: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.bool_]:
    """Return between which pictures no clip goes on, bool (n - 1,)."""
    is_border: npt.NDArray[np.bool_] = (spacings > limit) | (spacings < 0)
    if index.segments is not None:
        is_border[index.segments[1:] - 1] = True
    return is_border
