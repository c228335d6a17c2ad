"""Clips of one camera for a detector that learns it: small pictures of the camera's aspect, at a part of its rate."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from models.data.kept_clips import KeptClips, spread
from models.data.normal_footage import FootageError, NormalFootage, PlacedClip
from models.data.one_scene import OneScene
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

#: Its multiples, modulo 1, are spread evenly, and beat with no period: neither with the films' length nor with the day.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
#: Number of clips on which a fitted detector is judged: held back (about), and learned from (at most). One costs 15 to
#: 100 ms of a core, and an hour has 36,000. At most a thousandth of the held-back ones reach the threshold.
_HELD_BACK, _LEARNED = 2000, 2000
#: Number of clips learned from that are kept for an update, and number on which that is judged.
_KEPT_LEARNED = 1000
#: Least length of a stretch of held-back clips, where the footage has them; far longer than kernels of averages.
_STRETCH = 50


def clip_of_camera(
    footage: NormalFootage, *, frames: int, height: int, cell: int, least_cells: int, least_fps: float
) -> ClipSpec:
    """Return the clips, one for each frame. Those of added footage are those of its earlier part.

    Args:
        height: of the pictures, pixels; no higher than the camera's own.
        cell: pixels of which height and width are multiples.
        least_cells: of a side.
        least_fps: see :meth:`models.data.normal_footage.NormalFootage.even_rate`.

    Raises:
        FootageError: the pictures are too small, or too narrow, or come too seldom, or at rates without a common part.
    """
    if footage.earlier is not None:
        return dataclasses.replace(footage.earlier.clip, frames=frames)
    film = footage.films[0]
    height = min(height, film.height // cell * cell)
    width = max(cell, round(height * film.width / film.height / cell) * cell)
    if min(height, width) < least_cells * cell:
        least = least_cells * cell
        raise FootageError(
            f"{film.path}: pictures of {film.width}×{film.height}, of which {width}×{height} would be compared; "
            f"expected at least {least}×{least}; use footage of larger pictures"
        )
    fps = footage.even_rate(least_fps)
    footage.check_spacing(fps, frames)
    return ClipSpec(frames, 1, height, width, Fit.STRETCH, fps)


def sample_of_one_scene(
    footage: NormalFootage,
    clip: ClipSpec,
    most: int,
    *,
    report: Callable[[str], None],
    progress: Callable[[float], None],
) -> Iterator[PlacedClip]:
    """Yield about ``most`` of the footage's clips, and check it: it is long enough, and shows one scene if it must.

    The checks are complete when the clips are. Footage that is added must be long enough by itself.

    Args:
        report: called with a line for each film that is damaged or has several video streams.
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError: the footage is too short, or shows several scenes or none.
        SourceError: a film cannot be read.
    """
    if footage.earlier is not None:
        assert clip.fps is not None
        footage.check_enough(*(int(seconds * clip.fps) for seconds in footage.lengths()))
    scene, counts = OneScene(footage.camera), [0, 0]
    for one in sparse_clips(footage, clip, most, report):
        if footage.shows_one_scene:
            scene.add(one)
        counts[one.held_back] += 1
        yield one
        progress(one.end)
    scene.finish()
    if footage.earlier is None:
        # The sample stands for so many clips as they come live.
        footage.check_enough(*(count * frames_apart(footage, clip, most) for count in counts))


def sparse_clips(
    footage: NormalFootage, clip: ClipSpec, most: float, report: Callable[[str], None] | None = None
) -> Iterator[PlacedClip]:
    """Yield about ``most`` of the footage's clips in order, spread evenly; all of them where they are fewer.

    Each piece gives its share of clips. Of more pieces than ``most``, some give one clip each, chosen among those that
    are held back and among those that are learned from by the same rule. A fixed stride over the whole footage would
    beat with the held-back pieces: once it is longer than a piece, it may miss all of them.

    An earlier part comes first. Its share of the sample is its share of the whole length.

    Args:
        report: see :meth:`models.data.normal_footage.NormalFootage.clips`.

    Raises:
        FootageError, SourceError: see :meth:`models.data.normal_footage.NormalFootage.clips`.
    """
    assert clip.fps is not None
    whole = most
    if footage.earlier is not None:
        most *= sum(footage.lengths()) / sum(footage.lengths_with_earlier())
    # A whole piece then has a clip wherever in it the first frame of the stride lies.
    densest = max(1, int(footage.piece_seconds * clip.fps) - clip.frames)
    spec = dataclasses.replace(clip, stride=min(frames_apart(footage, clip, most), densest))
    if (earlier := footage.earlier) is not None:
        # No denser than the added footage, whose stride is rounded.
        density = min(whole / sum(footage.lengths_with_earlier()), clip.fps / spec.stride)
        yield from _earlier_clips(
            earlier, clip, learned=density * earlier.learned_seconds, held_back=density * earlier.held_back_seconds
        )
    share = most * footage.piece_seconds / footage.seconds
    taken: Counter[int] = Counter()
    for one in footage.clips(spec, report):
        if taken[one.piece] < math.ceil(share) and footage.ordinal_of_kind(one.piece) * _GOLDEN_RATIO % 1 < share:
            taken[one.piece] += 1
            yield one


def judged_clips(footage: NormalFootage, clip: ClipSpec) -> Iterator[PlacedClip]:
    """Yield the clips on which a fitted detector is judged, in order: all of short footage, else a bounded number.

    Held-back clips come in unbroken stretches, because thresholds are found on scores that are averaged as live: the
    first clips of each held-back piece, or of some of very many. Clips of the footage that is learned from come one by
    one, spread evenly, to find its strangest moments: in an hour at 10 frames a second, one in 1.5 s.

    An earlier part comes first. Its share of either kind is its share of the length of that kind.

    Raises:
        FootageError, SourceError: see :meth:`models.data.normal_footage.NormalFootage.clips`.
    """
    return _drawn(footage, clip, learned=_LEARNED if footage.earlier is None else _KEPT_LEARNED, held_back=_HELD_BACK)


def clips_to_keep(footage: NormalFootage, clip: ClipSpec) -> Iterator[PlacedClip]:
    """Yield the clips that are kept for an update, in order: as :func:`judged_clips`, fewer of those learned from.

    Raises:
        FootageError, SourceError: see :meth:`models.data.normal_footage.NormalFootage.clips`.
    """
    return _drawn(footage, clip, learned=_KEPT_LEARNED, held_back=_HELD_BACK)


def _drawn(footage: NormalFootage, clip: ClipSpec, *, learned: float, held_back: float) -> Iterator[PlacedClip]:
    """Yield about these numbers of clips of each kind, or all; the held-back ones in stretches."""
    assert clip.fps is not None
    learned_seconds, held_back_seconds = footage.lengths()
    if (earlier := footage.earlier) is not None:
        density, held_back_density = (
            most / seconds for most, seconds in zip((learned, held_back), footage.lengths_with_earlier(), strict=True)
        )
        learned, held_back = density * learned_seconds, held_back_density * held_back_seconds
    pieces = max(1.0, held_back_seconds / footage.piece_seconds)
    chosen_pieces = min(pieces, max(1.0, held_back / _STRETCH))
    stretch, share = math.ceil(held_back / chosen_pieces), chosen_pieces / pieces
    every = max(1, math.ceil(learned_seconds * clip.fps / clip.stride / learned))
    if earlier is not None:
        yield from _earlier_clips(
            earlier,
            clip,
            learned=min(density, clip.fps / every) * earlier.learned_seconds,  # no denser than the added footage
            held_back=held_back_density * earlier.held_back_seconds,
            stretch=_STRETCH,
        )
    taken: Counter[int] = Counter()
    learned_clips = 0
    for one in footage.clips(clip):
        if one.held_back:
            taken[one.piece] += 1
            chosen = taken[one.piece] <= stretch and footage.ordinal_of_kind(one.piece) * _GOLDEN_RATIO % 1 < share
        else:
            chosen = learned_clips % every == 0
            learned_clips += 1
        if chosen:
            yield one


def _earlier_clips(
    earlier: KeptClips, clip: ClipSpec, *, learned: float, held_back: float, stretch: int = 1
) -> Iterator[PlacedClip]:
    """Yield about these numbers of clips of each kind, evenly; the held-back ones in stretches."""
    chosen = np.zeros(len(earlier.held_back), np.bool_)
    for kind, wanted, length in ((~earlier.held_back, learned, 1), (earlier.held_back, held_back, stretch)):
        chosen[kind] = spread(int(kind.sum()), round(wanted), length)
    return earlier.clips(chosen, clip.frames)


def frames_apart(footage: NormalFootage, clip: ClipSpec, most: float) -> int:
    """Return the frames from clip to clip, at least the stride, where ``most`` clips lie evenly over the footage."""
    assert clip.fps is not None
    return max(clip.stride, math.ceil(footage.seconds * clip.fps / most))
