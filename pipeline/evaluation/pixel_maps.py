"""Maps of anomaly and masks of abnormal pixels, matched with judged videos and counted.

:mod:`operators.figures.pixels` has the figures and :func:`operators.figures.bootstrap.estimate_pixels` their intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.figures.pixels import PixelCounts, Regions, count_pixels, levels_of
from pipeline.errors import UsageError
from pipeline.evaluation.judged import JudgedVideo, LeftOut
from pipeline.evaluation.pairing import some
from pipeline.heat import at_pixels
from pipeline.manifests.masks import Mask, Masks, masked_name
from pipeline.plain_arrays import ArraysError, load_member, names_of
from pipeline.sources.base import FrameSpec
from pipeline.sources.scale import Part, seen_part

Maps = npt.NDArray[np.float32]

#: Pixels that touch by a corner are of one region, as in the authors' code.
_NEIGHBOURS = np.ones((3, 3))


class MapsError(UsageError):
    """Maps or masks cannot be used. One line that names file and video."""


def regions_of(mask: Mask) -> Regions:
    """Return the region of each pixel, int (H, W): 0 where the mask (H, W) is False, else its number, from 1."""
    from scipy.ndimage import label

    return np.asarray(label(mask, _NEIGHBOURS)[0])


def read_maps(file: Path) -> dict[str, Callable[[], Maps]]:
    """Return readers of maps by video: float (n, h, w), one a score or one a frame.

    Args:
        file: an archive of arrays, ``.npz``, one a video.

    Raises:
        MapsError: the file is missing or invalid.
    """

    return {name: partial(_numbers, file, name) for name in _names(file)}


@dataclass(frozen=True, slots=True)
class _NormalMasks:
    """The masks of a video without abnormal pixels."""

    frames: int
    size: tuple[int, int]

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Mask]:
        yield from repeat(np.zeros(self.size, np.bool_), self.frames)


def judge_maps(
    videos: Sequence[JudgedVideo],
    maps: Mapping[str, Callable[[], Maps]],
    masks: Mapping[str, Masks],
    *,
    shown: Mapping[str, FrameSpec] | None = None,
    left_out: list[LeftOut] | None = None,
) -> list[PixelCounts]:
    """Count the pixels of the videos that have maps, and masks if they are abnormal.

    A clip's map counts for its frames, like its score. Frames after the last clip are not judged. A normal video needs
    no masks if those of the others are of one size: at that size, all its pixels are normal. One frame is held at a
    time, beside the maps of one video.

    Args:
        maps: by the video's name: (n, h, w), one a clip, or one a frame.
        masks: by the video's name, or by the file's name without folders and suffix.
        shown: by the video's name, the frames of its clips, which a map covers; a video without covers the picture.
        left_out: receives the videos that have maps and cannot be judged by masks: abnormal ones without masks, normal
            ones of unknown size, and those with masks for more frames than could be decoded, because the matching is
            unknown.

    Raises:
        MapsError: no video has both, masks and frames of a video differ in number, or a mask may belong to two videos.
        MasksError: masks cannot be read.
    """
    left_out = left_out if left_out is not None else []
    shown = shown if shown is not None else {}
    found = _matched([video for video in videos if video.name in maps], masks)
    if not found:
        raise MapsError(f"no video has maps and masks: {some(maps)} have maps, {some(masks)} have masks")
    found |= _without_masks([video for video in videos if video.name not in found], found, maps, left_out)
    for video, own in list(found.values()):
        if video.damaged and len(own) >= video.frames + _longest(video):
            reason = f"its maps are not judged: it is damaged, with {video.frames} judged frames and {len(own)} masks"
            left_out.append(LeftOut(video.name, reason))
            del found[video.name]
    if not found:
        return []

    def scaled() -> Iterator[Maps]:
        for video, own in found.values():
            yield from _of_frames(video, maps[video.name](), own, shown.get(video.name))

    levels = levels_of(scaled())
    counts = []
    for video, own in found.values():
        placed = _of_frames(video, maps[video.name](), own, shown.get(video.name))
        frames = zip(placed, map(regions_of, own), strict=False)  # later masks have no frame
        counts.append(count_pixels(video.name, frames, levels))
    return counts


def _matched(videos: Sequence[JudgedVideo], masks: Mapping[str, Masks]) -> dict[str, tuple[JudgedVideo, Masks]]:
    """Return the videos that have masks, each with its own, by name. Raises MapsError."""
    owners: dict[str, str] = {}
    found = {}
    for video in videos:
        if (name := masked_name(video.name, masks)) is None:
            continue
        if name in owners:
            raise MapsError(
                f"the masks of {name} may be those of {owners[name]} and of {video.name}: judge one of them "
                "(--split), or name the masks as the videos"
            )
        owners[name] = video.name
        found[video.name] = video, masks[name]
    return found


def _without_masks(
    videos: Sequence[JudgedVideo],
    masked: Mapping[str, tuple[JudgedVideo, Masks]],
    maps: Mapping[str, Callable[[], Maps]],
    left_out: list[LeftOut],
) -> dict[str, tuple[JudgedVideo, Masks]]:
    """Return the normal ones of the videos with maps alone, each with masks of the size that the others have."""
    sizes = {own.size for _, own in masked.values()}
    found: dict[str, tuple[JudgedVideo, Masks]] = {}
    for video in videos:
        if video.name not in maps:
            continue
        if video.label:
            left_out.append(LeftOut(video.name, "not judged by masks: abnormal, and without masks"))
        elif len(sizes) > 1:
            reason = "not judged by masks: normal, and the other videos' masks differ in size"
            left_out.append(LeftOut(video.name, reason))
        else:
            found[video.name] = video, _NormalMasks(_mapped_frames(video, maps[video.name]()), next(iter(sizes)))
    return found


def _mapped_frames(video: JudgedVideo, maps: Maps) -> int:
    """Return the number of frames that have a map, after the last clip as well. Raises MapsError."""
    if len(maps) == len(video.start):
        return video.frames
    if not video.damaged and not video.frames <= len(maps) < video.frames + _longest(video):
        raise _number_error(video, maps)
    return len(maps)


def _number_error(video: JudgedVideo, maps: Maps) -> MapsError:
    return MapsError(f"{video.name}: {len(maps)} maps; expected one a clip ({len(video.start)}) or one a frame")


def _longest(video: JudgedVideo) -> int:
    """Return the number of frames of the video's longest clip."""
    return int((video.end_frame - video.first_frame).max())


def _of_frames(video: JudgedVideo, maps: Maps, masks: Masks, shown: FrameSpec | None) -> Iterator[Maps]:
    """Yield the map of each judged frame, scaled to its mask. Raises MapsError."""
    frames, size = video.frames, masks.size
    if not frames <= len(masks) < frames + _longest(video):
        raise MapsError(f"{video.name}: {frames} frames were judged, but {len(masks)} have a mask")
    if len(maps) == len(video.start):
        numbers = np.maximum(np.searchsorted(video.first_frame, np.arange(frames), side="right") - 1, 0)
    elif len(maps) == len(masks):
        numbers = np.arange(frames)
    else:
        raise _number_error(video, maps)
    for number, of_frames in groupby(numbers.tolist()):
        if not np.isfinite(maps[number]).all():
            raise MapsError(f"{video.name}: map {number} holds values that are not finite; expected numbers")
        yield from repeat(_scaled(maps[number], size, shown), len(list(of_frames)))


def _names(file: Path) -> list[str]:
    try:
        names = names_of(file)
    except FileNotFoundError:
        raise MapsError(f"{file}: no such file") from None
    except OSError as error:
        raise MapsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ArraysError as error:
        raise MapsError(f"{file}: {error}") from None
    if not names:
        raise MapsError(f"{file}: expected an archive with one array a video")
    return names


def _stored(file: Path, name: str) -> npt.NDArray[np.generic]:
    try:
        values = load_member(file, name)
    except OSError as error:
        raise MapsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ArraysError as error:
        raise MapsError(f"{file}: {error}") from None
    if values.ndim != 3 or not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise MapsError(f"{file}: {name}: expected (frames, height, width), got {values.dtype} {values.shape}")
    return values


def _numbers(file: Path, name: str) -> Maps:
    values = _stored(file, name).astype(np.float32)
    if not np.isfinite(values).all():
        raise MapsError(f"{file}: {name}: maps must hold finite numbers")
    return values


def _scaled(values: Maps, size: tuple[int, int], shown: FrameSpec | None) -> Maps:
    """Return a map at each pixel of a mask, linearly between the centres of its own; 0 where no clip shows the mask."""
    height, width = size
    picture = Part(0, 0, width, height)
    part = picture if shown is None else seen_part(width, height, shown)
    return values if values.shape == size and part == picture else at_pixels(values, part, width, height)
