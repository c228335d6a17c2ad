"""Clips of one camera for a detector that learns it: small pictures of the camera's aspect, at a part of its rate."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator

from models.data.normal_footage import FootageError, NormalFootage, PlacedClip
from models.data.one_scene import OneScene
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

#: Its multiples, modulo 1, are spread evenly, and beat with no period: neither with the films' length nor with the day.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
#: Number of clips on which a fitted detector is judged: held back (about), and learned from (at most). One costs 15 to
#: 100 ms of a core, and an hour has 36,000. At most a thousandth of the held-back ones reach the threshold.
_HELD_BACK, _LEARNED = 2000, 2000
#: Least length of a stretch of held-back clips, where the footage has them; far longer than kernels of averages.
_STRETCH = 50


def clip_of_camera(
    footage: NormalFootage, *, frames: int, height: int, cell: int, least_cells: int, least_fps: float
) -> ClipSpec:
    """Return the clips, one for each frame.

    Args:
        height: of the pictures, pixels; no higher than the camera's own.
        cell: pixels of which height and width are multiples.
        least_cells: of a side.
        least_fps: see :meth:`models.data.normal_footage.NormalFootage.even_rate`.

    Raises:
        FootageError: the pictures are too small, or too narrow, or come too seldom, or at rates without a common part.
    """
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
    """Yield about ``most`` of the footage's clips, and check it: it shows one scene, and is long enough.

    The checks are complete when the clips are.

    Args:
        report: called with a line for each film that is damaged or has several video streams.
        progress: called with the seconds of the footage that are done.

    Raises:
        FootageError: the footage is too short, or shows several scenes or none.
        SourceError: a film cannot be read.
    """
    scene, counts = OneScene(footage.camera), [0, 0]
    for one in sparse_clips(footage, clip, most, report):
        scene.add(one)
        counts[one.held_back] += 1
        yield one
        progress(one.end)
    scene.finish()
    # The sample stands for so many clips as they come live.
    footage.check_enough(*(count * frames_apart(footage, clip, most) for count in counts))


def sparse_clips(
    footage: NormalFootage, clip: ClipSpec, most: int, report: Callable[[str], None] | None = None
) -> Iterator[PlacedClip]:
    """Yield about ``most`` of the footage's clips in order, spread evenly; all of them where they are fewer.

    Each piece gives its share of clips. Of more pieces than ``most``, some give one clip each, chosen among those that
    are held back and among those that are learned from by the same rule. A fixed stride over the whole footage would
    beat with the held-back pieces: once it is longer than a piece, it may miss all of them.

    Args:
        report: see :meth:`models.data.normal_footage.NormalFootage.clips`.

    Raises:
        FootageError, SourceError: see :meth:`models.data.normal_footage.NormalFootage.clips`.
    """
    assert clip.fps is not None
    # A whole piece then has a clip wherever in it the first frame of the stride lies.
    densest = max(1, int(footage.piece_seconds * clip.fps) - clip.frames)
    spec = dataclasses.replace(clip, stride=min(frames_apart(footage, clip, most), densest))
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

    Raises:
        FootageError, SourceError: see :meth:`models.data.normal_footage.NormalFootage.clips`.
    """
    assert clip.fps is not None
    learned, held_back = footage.lengths()
    pieces = max(1.0, held_back / footage.piece_seconds)
    chosen_pieces = min(pieces, _HELD_BACK / _STRETCH)
    stretch, share = math.ceil(_HELD_BACK / chosen_pieces), chosen_pieces / pieces
    every = max(1, math.ceil(learned * clip.fps / _LEARNED))
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


def frames_apart(footage: NormalFootage, clip: ClipSpec, most: int) -> int:
    """Return the frames from clip to clip, at least the stride, where ``most`` clips lie evenly over the footage."""
    assert clip.fps is not None
    return max(clip.stride, math.ceil(footage.seconds * clip.fps / most))
