"""Maps of anomaly judged against masks of abnormal pixels.

| figure | meaning |
|---|---|
| ``pixel_auc`` | area under the ROC curve of all pixels of all frames together |
| ``pro`` | per-region overlap: the flagged share of a region (a connected part of a mask), averaged over regions, so that small and large regions count alike; averaged over the false-positive rates up to 30 % of the normal pixels (P. Bergmann et al., MVTec AD, CVPR 2019 and IJCV 2021) |

A million frames have too many pixels to sort. Values are distinguished at 4096 levels with equal numbers of pixels:
exact if there are at most 4096 different values, else to some hundredths of a per cent of the false-positive rate. If
there are more than two million pixels, the levels come from a random sample of a million or more. A video is then three
rows of counts at any length, and a draw of the bootstrap a sum of them.
"""  # noqa: E501  (a table)

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.figures.bootstrap import DRAWS, LEVEL, Estimate
from operators.figures.events import Interval
from operators.figures.ranked import Undefined
from pipeline.errors import UsageError
from pipeline.evaluation.judged import JudgedVideo, LeftOut
from pipeline.evaluation.pairing import some
from pipeline.plain_arrays import UNREADABLE, ArraysError, load_member, names_of, refuse_other_formats

Floats = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

#: Number of levels at which values are distinguished.
LEVELS = 4096
#: Largest share of flagged normal pixels over which per-region overlap is averaged; the data set's authors' choice.
PRO_LIMIT = 0.3

#: Largest sample of pixels that determines the levels; it never falls below about half as many. Some hundred pixels a
#: level keep the levels equal to about a tenth. 8 MB.
_KEPT = 2_000_000


class MapsError(UsageError):
    """Maps or masks cannot be used. One line that names file and video."""


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Counts of one video's pixels; each array (levels + 1,), by rising value.

    Attributes:
        overlap: shares of a region's pixels, summed over regions.
    """

    name: str
    normal: Floats
    abnormal: Floats
    overlap: Floats
    regions: int


def levels_of(videos: Iterable[tuple[Iterable[Maps], tuple[int, ...]]]) -> Floats:
    """Return the values at which pixels are distinguished, rising, at most :data:`LEVELS`.

    Args:
        videos: the maps of each, (h, w), and the size (H, W) to which they are scaled. One map is held at a time.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    sample = _Sample()
    for maps, size in videos:
        for values in maps:
            if not np.isfinite(values).all():
                raise ValueError("maps must hold finite numbers")
            sample.add(_scaled(values, size).ravel())
    found = sample.values
    if not len(found):
        raise ValueError("maps: expected at least one, got none")
    different = np.unique(found)
    return (
        different
        if len(different) <= LEVELS
        else np.unique(np.quantile(found, np.linspace(0, 1, LEVELS), method="nearest"))
    )


class _Sample:
    """A random sample of values, each with the same probability, which falls as their number grows."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._chance = 1.0
        self._held = 0
        self._parts: list[npt.NDArray[np.generic]] = []

    def add(self, values: npt.NDArray[np.generic]) -> None:
        if self._chance < 1:
            values = self._rng.choice(values, self._rng.binomial(len(values), self._chance), replace=False)
        self._parts.append(values)
        self._held += len(values)
        while self._held > _KEPT:
            held = np.concatenate(self._parts)
            self._parts = [held[self._rng.random(len(held)) < 0.5]]
            self._held = len(self._parts[0])
            self._chance /= 2

    @property
    def values(self) -> Floats:
        return np.concatenate(self._parts).astype(np.float64) if self._parts else np.empty(0)


def count_pixels(name: str, maps: Iterable[Maps], masks: Iterable[Masks], levels: Floats) -> PixelCounts:
    """Count one video's pixels at the levels.

    Args:
        maps: of each frame, float (h, w), higher is more abnormal; scaled to the size of the mask, linearly between the
            centres of its pixels.
        masks: of each frame, bool (H, W).

    Raises:
        MapsError: different numbers of masks and maps, or none.
    """
    from scipy.ndimage import label

    size = len(levels) + 1
    normal, abnormal, overlap = np.zeros(size), np.zeros(size), np.zeros(size)
    regions = 0
    try:
        for values, mask in zip(maps, masks, strict=True):
            at = np.searchsorted(levels, _scaled(values, mask.shape), side="right")
            normal += np.bincount(at[~mask], minlength=size)
            if mask.any():
                abnormal += np.bincount(at[mask], minlength=size)
                marked, count = label(mask, np.ones((3, 3)))  # corners touch, as in the authors' code
                inside = marked[mask] - 1
                weights = 1 / np.bincount(inside, minlength=count)
                overlap += np.bincount(at[mask], weights[inside], minlength=size)
                regions += count
    except ValueError as error:
        if "zip()" in str(error):
            raise MapsError(f"{name}: maps and masks differ in number") from None
        raise
    if not (normal.any() or abnormal.any()):
        raise MapsError(f"{name}: no map; expected one a frame")
    return PixelCounts(name, normal, abnormal, overlap, regions)


def pixel_auc(normal: Floats, abnormal: Floats, overlap: Floats, regions: float) -> float:
    """Return the area under the ROC curve; the counts are those of :class:`PixelCounts`, added up."""
    false, true = _falling(normal), _falling(abnormal)
    return float(np.trapezoid(true, false))


def pro(normal: Floats, abnormal: Floats, overlap: Floats, regions: float) -> float:
    """Return the per-region overlap, see the module's docstring; counts as in :func:`pixel_auc`."""
    false = _falling(normal)
    overlaps = np.concatenate([[0.0], np.cumsum(overlap[::-1])]) / regions
    within = int(np.searchsorted(false, PRO_LIMIT, side="right"))  # a step at the limit itself adds no area
    area = float(np.trapezoid(overlaps[:within], false[:within]))
    if within < len(false) and (left := PRO_LIMIT - false[within - 1]) > 0:
        slope = (overlaps[within] - overlaps[within - 1]) / (false[within] - false[within - 1])
        area += left * (overlaps[within - 1] + slope * left / 2)
    return area / PRO_LIMIT


FIGURES: Mapping[str, Callable[[Floats, Floats, Floats, float], float]] = {"pixel_auc": pixel_auc, "pro": pro}


def pixel_figures(counts: Sequence[PixelCounts], copies: npt.NDArray[np.int64] | None = None) -> dict[str, float]:
    """Return the figures of all videos together, with ``copies`` copies of each.

    Raises:
        Undefined: abnormal or normal pixels are missing.
    """
    drawn = np.ones(len(counts)) if copies is None else copies.astype(np.float64)
    normal, abnormal, overlap = (
        drawn @ np.stack([getattr(one, name) for one in counts]) for name in ("normal", "abnormal", "overlap")
    )
    regions = float(drawn @ [one.regions for one in counts])
    for pixels, kind in ((normal, "normal"), (abnormal, "abnormal")):
        if not pixels.sum():
            raise Undefined(f"a curve needs normal and abnormal pixels; got no {kind} ones")
    return {name: figure(normal, abnormal, overlap, regions) for name, figure in FIGURES.items()}


def estimate_maps(
    counts: Sequence[PixelCounts], *, units: Sequence[str] | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """Return the figures with 95 % intervals by bootstrap, as :func:`operators.figures.bootstrap.estimate`.

    Args:
        units: for each video the name of its unit of drawing, such as its group; None: each is its own.
        draws, seed: see :func:`operators.figures.bootstrap.estimate`.

    Raises:
        ValueError: no video, or not as many units as videos.
    """
    if not counts:
        raise ValueError("figures of maps need at least one video")
    if units is not None and len(units) != len(counts):
        raise ValueError(f"expected a unit for each of {len(counts)} videos, got {len(units)}")
    of_unit = np.unique(np.arange(len(counts)) if units is None else np.array(units), return_inverse=True)[1]
    drawable = int(of_unit.max()) + 1
    try:
        values = pixel_figures(counts)
    except Undefined as reason:
        return {name: Estimate(None, None, str(reason)) for name in FIGURES}
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        copies = np.bincount(rng.integers(0, drawable, drawable), minlength=drawable)
        try:
            drawn = pixel_figures(counts, copies[of_unit])
        except Undefined:
            continue
        for name, value in drawn.items():
            found[name].append(value)
    tail = 50 * (1 - LEVEL)
    return {
        name: Estimate(
            value, Interval(*map(float, np.percentile(found[name], (tail, 100 - tail)))) if found[name] else None
        )
        for name, value in values.items()
    }


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
    levels = levels_of(_of_frames(video, maps[name](), masks[mask]()) for mask, (video, name) in found.items())
    counts = []
    for mask, (video, name) in found.items():
        abnormal = masks[mask]()
        scaled, _ = _of_frames(video, maps[name](), abnormal)
        counts.append(count_pixels(video.name, scaled, abnormal[: video.frames], levels))
    return counts


def _longest(video: JudgedVideo) -> int:
    """Return the number of frames of the video's longest clip."""
    return int((video.end_frame - video.first_frame).max())


def _of_frames(video: JudgedVideo, maps: Maps, masks: Masks) -> tuple[Iterator[Maps], tuple[int, ...]]:
    """Return the map of each judged frame, scaled to its mask, and the mask's size. Raises MapsError."""
    frames, size = video.frames, masks.shape[1:]
    if not frames <= len(masks) < frames + _longest(video):
        raise MapsError(f"{video.name}: {frames} frames were judged, but {len(masks)} have a mask")
    if len(maps) == len(video.start):
        numbers = np.maximum(np.searchsorted(video.first_frame, np.arange(frames), side="right") - 1, 0)
    elif len(maps) == len(masks):
        numbers = np.arange(frames)
    else:
        raise MapsError(f"{video.name}: {len(maps)} maps; expected one a clip ({len(video.start)}) or one a frame")

    def scaled() -> Iterator[Maps]:
        for number, of_frames in groupby(numbers.tolist()):
            yield from repeat(_scaled(maps[number], size), len(list(of_frames)))

    return scaled(), size


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
    if values.shape == shape:
        return values
    from scipy.ndimage import zoom

    factors = [wanted / own for wanted, own in zip(shape, values.shape, strict=True)]
    scaled: Maps = zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return scaled


def _falling(counts: Floats) -> Floats:
    """Return the flagged share by falling threshold, starting at 0."""
    flagged: Floats = np.concatenate([[0.0], np.cumsum(counts[::-1])])
    return np.asarray(flagged / flagged[-1])
