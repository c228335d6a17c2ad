"""Maps of anomaly and masks of abnormal pixels, matched with judged videos and counted.

:mod:`operators.figures.pixels` has the figures and :func:`operators.figures.bootstrap.estimate_pixels` their intervals.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.figures.pixels import PixelCounts, Regions, count_pixels, levels_of
from pipeline.errors import UsageError
from pipeline.evaluation.judged import JudgedVideo, LeftOut
from pipeline.evaluation.pairing import some
from pipeline.plain_arrays import UNREADABLE, ArraysError, load_member, names_of, refuse_other_formats

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

#: Pixels that touch by a corner are of one region, as in the authors' code.
_NEIGHBOURS = np.ones((3, 3))


class MapsError(UsageError):
    """Maps or masks cannot be used. One line that names file and video."""


def regions_of(mask: Masks) -> Regions:
    """Return the region of each pixel, int (H, W): 0 where the mask (H, W) is False, else its number, from 1."""
    from scipy.ndimage import label

    return np.asarray(label(mask, _NEIGHBOURS)[0])


def read_masks(file: Path) -> dict[str, Callable[[], Masks]]:
    """Return readers of masks by video: bool (frames, H, W), True where not 0.

    Args:
        file: an archive of arrays (``.npz``, one a video), or of pictures (``.zip``: VIDEO/000.png, in the order of
            their numbers, as in :func:`pipeline.sources.frame_folder.pictures`).

    Raises:
        MapsError: the file is missing or invalid.
    """
    from pipeline.sources.frame_folder import by_number, is_picture

    try:
        if file.suffix.lower() in (".npz", ".npy"):
            return {name: partial(_marked, file, name) for name in _names(file)}
        refuse_other_formats(file)
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and is_picture(Path(name))]
        pictures: dict[str, list[str]] = {}
        for name in sorted(names, key=lambda name: by_number(Path(name))):
            pictures.setdefault(str(Path(name).parent), []).append(name)
    except ArraysError as error:
        raise MapsError(f"{file}: {error}") from None
    except FileNotFoundError:
        raise MapsError(f"{file}: no such file") from None
    except OSError as error:
        raise MapsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile:
        raise MapsError(f"{file}: expected an archive of arrays (.npz) or of pictures (.zip)") from None
    if not pictures:
        raise MapsError(f"{file}: holds no picture")
    return {video: partial(_pictures, file, names) for video, names in pictures.items()}


def read_maps(file: Path) -> dict[str, Callable[[], Maps]]:
    """Return readers of maps by video: float (n, h, w), one a score or one a frame.

    Args:
        file: an archive of arrays, ``.npz``, one a video.

    Raises:
        MapsError: the file is missing or invalid.
    """

    return {name: partial(_numbers, file, name) for name in _names(file)}


def judge_maps(
    videos: Sequence[JudgedVideo],
    maps: Mapping[str, Callable[[], Maps]],
    masks: Mapping[str, Callable[[], Masks]],
    *,
    left_out: list[LeftOut] | None = None,
) -> list[PixelCounts]:
    """Count the pixels of the videos that have both.

    A clip's map counts for its frames, like its score. Frames after the last clip are not judged.

    Args:
        maps: by the video's name: (n, h, w), one a clip, or one a frame.
        masks: by the video's name, or by the file's name without folders and suffix: (frames, H, W).
        left_out: receives the videos with masks for more frames than could be decoded, because the matching is
            unknown.

    Raises:
        MapsError: no video has both, masks and frames of a video differ in number, or a mask may belong to two videos.
    """
    found: dict[str, tuple[JudgedVideo, str]] = {}
    for video in videos:
        mask = next((name for name in (video.name, Path(video.name).stem) if name in masks), None)
        if mask is None or video.name not in maps:
            continue
        if mask in found:
            raise MapsError(
                f"the masks of {mask} may be those of {found[mask][0].name} and of {video.name}: judge one of them "
                "(--split), or name the masks as the videos"
            )
        found[mask] = video, video.name
    if not found:
        raise MapsError(f"no video has maps and masks: {some(maps)} have maps, {some(masks)} have masks")
    for mask, (video, name) in list(found.items()):
        if video.damaged and (marked := len(masks[mask]())) >= video.frames + _longest(video):
            reason = f"its maps are not judged: it is damaged, with {video.frames} judged frames and {marked} masks"
            (left_out if left_out is not None else []).append(LeftOut(name, reason))
            del found[mask]
    if not found:
        return []

    def scaled() -> Iterator[Maps]:
        for mask, (video, name) in found.items():
            yield from _of_frames(video, maps[name](), masks[mask]())

    levels = levels_of(scaled())
    counts = []
    for mask, (video, name) in found.items():
        abnormal = masks[mask]()
        frames = zip(_of_frames(video, maps[name](), abnormal), map(regions_of, abnormal), strict=False)
        counts.append(count_pixels(video.name, frames, levels))
    return counts


def _longest(video: JudgedVideo) -> int:
    """Return the number of frames of the video's longest clip."""
    return int((video.end_frame - video.first_frame).max())


def _of_frames(video: JudgedVideo, maps: Maps, masks: Masks) -> Iterator[Maps]:
    """Return the map of each judged frame, scaled to its mask. Raises MapsError."""
    frames, size = video.frames, masks.shape[1:]
    if not frames <= len(masks) < frames + _longest(video):
        raise MapsError(f"{video.name}: {frames} frames were judged, but {len(masks)} have a mask")
    if len(maps) == len(video.start):
        numbers = np.maximum(np.searchsorted(video.first_frame, np.arange(frames), side="right") - 1, 0)
    elif len(maps) == len(masks):
        numbers = np.arange(frames)
    else:
        raise MapsError(f"{video.name}: {len(maps)} maps; expected one a clip ({len(video.start)}) or one a frame")
    for number, of_frames in groupby(numbers.tolist()):
        if not np.isfinite(maps[number]).all():
            raise MapsError(f"{video.name}: map {number} holds values that are not finite; expected numbers")
        yield from repeat(_scaled(maps[number], size), len(list(of_frames)))


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


def _marked(file: Path, name: str) -> Masks:
    return np.asarray(_stored(file, name) != 0)


def _numbers(file: Path, name: str) -> Maps:
    values = _stored(file, name).astype(np.float32)
    if not np.isfinite(values).all():
        raise MapsError(f"{file}: {name}: maps must hold finite numbers")
    return values


def _pictures(file: Path, names: Sequence[str]) -> Masks:
    import av

    masks = []
    with zipfile.ZipFile(file) as archive:
        for name in names:
            try:
                with av.open(io.BytesIO(archive.read(name)), "r") as picture:
                    masks.append(next(picture.decode(video=0)).to_ndarray(format="gray") != 0)
            except (av.FFmpegError, StopIteration, IndexError, *UNREADABLE):
                raise MapsError(f"{file}: {name}: not a picture; expected a mask") from None
    if len({mask.shape for mask in masks}) > 1:
        raise MapsError(f"{file}: {Path(names[0]).parent}: masks of different sizes")
    return np.stack(masks)


def _scaled(values: Maps, shape: tuple[int, ...]) -> Maps:
    """Return a map scaled to a mask's size, linearly between the centres of its pixels."""
    if values.shape == shape:
        return values
    from scipy.ndimage import zoom

    factors = [wanted / own for wanted, own in zip(shape, values.shape, strict=True)]
    scaled: Maps = zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return scaled
