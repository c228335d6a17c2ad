"""Clips of many videos through a network: threads decode ahead while the engine computes.

A reader decodes one video at a time; several readers work on several videos at once, and what they cut goes through
one bounded queue. A batch takes clips as they come, so short videos fill it too. The clips of one video come in
order; the order of the videos is not fixed.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from pipeline.errors import MistwatchError
from pipeline.manifests.manifest import Video, open_video
from pipeline.sources.base import SegmentOver, SourceError
from pipeline.sources.recordings import Recording, open_recording
from pipeline.windows import ClipSpec, cut

#: A video: a manifest's, or a film's path. A folder of pictures must be a manifest's, which has its rate.
Recorded = Path | Video
Clips = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: Seconds between the looks of a waiting reader at its stop event.
_LOOK_SECONDS = 0.2
#: More readers decode no faster, because they share one interpreter.
_MOST_READERS = 8


class FeaturesError(MistwatchError):
    """A video's features cannot be computed or read."""


class Unreadable(FeaturesError):
    """A video cannot be read."""


class Engine(NamedTuple):
    """A function from clips to arrays: features, maps."""

    name: str  #: the engine; part of the caches' names, as engines differ in the last digits
    batch: int  #: preferred number of clips at once
    encode: Callable[[Clips], tuple[Floats, ...]]  #: (N, T, H, W, 3) → arrays of N rows each


class Place(NamedTuple):
    """The place of a clip in its video."""

    segment: int  #: ordinal of the segment that it was cut from
    start: float  #: seconds of the stream's clock
    end: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """The network's output for one clip.

    Attributes:
        video: ordinal of its video.
        arrays: the engine's, each (V, ...): a row for each of the clip's views.
    """

    video: int
    place: Place
    arrays: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A video's last clip has been passed on, or it has none.

    Attributes:
        video: its ordinal.
        error: reason why it cannot be used, in one line that names it; None if it can.
        damage: description of the part that could not be decoded, where the rest could.
    """

    video: int
    error: str | None = None
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class _Cut:
    """A clip as a reader leaves it: its views, uint8 (V, T, H, W, 3)."""

    video: int
    place: Place
    views: Clips


@dataclass(frozen=True, slots=True)
class _Ended:
    video: int
    damage: str | None
    problem: BaseException | None


Views = Callable[[Clips], Clips]  #: views of a clip, (T, H, W, 3) → (V, T, h, w, 3)

#: The standing scene of a video's next clip: its place, uint8 (T, H, W, 3) → uint8 (H, W, 3).
SceneOf = Callable[[Place, Clips], npt.NDArray[np.uint8]]


def as_it_is(clip: Clips) -> Clips:
    """One view: the clip. uint8 (T, H, W, 3) → (1, T, H, W, 3)."""
    return clip[None]


def mirrored(clip: Clips) -> Clips:
    """One view: the clip as a mirror shows it. uint8 (T, H, W, 3) → (1, T, H, W, 3)."""
    return clip[None, :, :, ::-1]


def ten_crops(clip: Clips, height: int, width: int) -> Clips:
    """The four corners and the centre, then those of the mirrored clip (torchvision's order).

    uint8 (T, H, W, 3) → (10, T, height, width, 3).

    Raises:
        ValueError: a crop larger than the picture.
    """
    _, H, W, _ = clip.shape
    if height > H or width > W:
        raise ValueError(f"a crop of {height}×{width} does not fit into pictures of {H}×{W}")
    corners = ((0, 0), (0, W - width), (H - height, 0), (H - height, W - width), ((H - height) // 2, (W - width) // 2))
    return np.stack(
        [side[:, top : top + height, left : left + width] for side in (clip, clip[:, :, ::-1]) for top, left in corners]
    )


def path_of(video: Recorded) -> Path:
    """Return the video's path."""
    return video if isinstance(video, Path) else video.path


def content_of(video: Recorded) -> str:
    """Return a hash of the video's content, which does not depend on its name. Raises Unreadable: the video."""
    try:
        return _open(video).content_hash
    except (SourceError, OSError) as error:
        raise Unreadable(_said(error, video)) from None


def seconds_of(video: Recorded) -> float:
    """About how long the video is, at least a second; nothing is decoded. Raises Unreadable: it is not a video."""
    path = path_of(video)
    try:
        recording = _open(video)
        recording.check()
        if path.is_dir():
            return max(1.0, float(recording.frame_times()[-1]))
        with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"}) as container:
            return max(1.0, container.duration / av.time_base) if container.duration else 1.0
    except (SourceError, OSError) as error:
        raise Unreadable(_said(error, video)) from None
    except av.FFmpegError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None


def _open(video: Recorded, *, on_damage: Callable[[str], None] | None = None, threads: int = 0) -> Recording:
    if isinstance(video, Path):
        return open_recording(video, on_damage=on_damage, threads=threads)
    return open_video(video, on_damage=on_damage, threads=threads)


def readers_for(engine: str) -> int:
    """Return the number of videos to decode at once. A CPU's cores are the engine's: one thread keeps ahead of it."""
    return min(_MOST_READERS, os.cpu_count() or 1) if engine == "cuda" else 1


def extract(
    videos: Sequence[Recorded],
    clip: ClipSpec,
    engine: Engine,
    *,
    views: Views = as_it_is,
    scenes: Callable[[], SceneOf] | None = None,
    readers: int = 1,
) -> Iterator[Encoded | Finished]:
    """Yield the engine's output for the videos' clips.

    Args:
        videos: recordings; one that cannot be read ends with its :class:`Finished` and does not disturb the others.
        engine: called with at most ``engine.batch`` clips' views at once.
        views: what of each clip is encoded; each of its views is a row.
        scenes: called for each video; makes the standing scenes of its clips. Each clip that the engine gets then has
            one picture more, its scene, behind its frames; views show both alike.

    Yields:
        For every video its clips in order, then one :class:`Finished`. A number that is none (NaN, infinity) among a
        clip's arrays is an error of its video.
    """
    failed: dict[int, str] = {}
    waiting: list[_Cut | _Ended] = []  # in the order of their coming; ends stay behind their clips
    clips = rows = 0

    def encoded() -> Iterator[Encoded | Finished]:
        """Pass the waiting clips through the engine."""
        cuts = [item for item in waiting if isinstance(item, _Cut)]
        arrays = iter(_encode(engine, [item.views for item in cuts]))
        for item in waiting:
            if isinstance(item, _Cut):
                found = next(arrays)
                if item.video not in failed and not all(_finite(array) for array in found):
                    failed[item.video] = (
                        f"{path_of(videos[item.video])}: the clip at {item.place.start:.2f} s gives NaN or infinite "
                        f"numbers on {engine.name}; try another engine"
                    )
                if item.video not in failed:
                    yield Encoded(item.video, item.place, found)
            else:
                if item.problem is not None and item.video not in failed:
                    failed[item.video] = _said(item.problem, videos[item.video])
                yield Finished(item.video, failed.get(item.video), item.damage)

    with _read_ahead(videos, clip, views, scenes, readers, hold=2 * engine.batch, unwanted=failed) as arriving:
        for item in arriving:
            waiting.append(item)
            if isinstance(item, _Cut):
                clips, rows = clips + 1, rows + len(item.views)
            if clips == 0 or rows >= engine.batch:
                yield from encoded()
                waiting, clips, rows = [], 0, 0
        yield from encoded()


def _encode(engine: Engine, clips: Sequence[Clips]) -> Iterator[tuple[Floats, ...]]:
    """Clips' views, (V, T, H, W, 3) each, through the engine: for each clip its arrays, (V, ...) each."""
    if not clips:
        return
    rows = np.concatenate(clips)
    parts = [engine.encode(rows[at : at + engine.batch]) for at in range(0, len(rows), engine.batch)]
    arrays = parts[0] if len(parts) == 1 else tuple(np.concatenate(same) for same in zip(*parts, strict=True))
    at = 0
    for views in clips:
        yield tuple(array[at : at + len(views)] for array in arrays)
        at += len(views)


def _finite(array: Floats) -> bool:
    # NaN is the extreme of any array that holds it. Twice as fast as isfinite(array).all(), which makes an array.
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _said(problem: BaseException, video: Recorded) -> str:
    if isinstance(problem, SourceError):
        return str(problem)
    if isinstance(problem, OSError):
        return f"{path_of(video)}: cannot be read: {problem.strerror}"
    raise problem  # a bug, met by a reader


@contextmanager
def _read_ahead(
    videos: Sequence[Recorded],
    clip: ClipSpec,
    views: Views,
    scenes: Callable[[], SceneOf] | None,
    readers: int,
    *,
    hold: int,
    unwanted: dict[int, str],
) -> Iterator[Iterator[_Cut | _Ended]]:
    """The clips of the videos as ``readers`` threads cut them, ``hold`` of them waiting at most; no thread is left."""
    ready: queue.Queue[_Cut | _Ended] = queue.Queue(hold)
    stop = threading.Event()
    ordinals = iter(range(len(videos)))  # shared by the readers: to take the next one is atomic

    def put(item: _Cut | _Ended) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def read() -> None:
        for ordinal in ordinals:
            damage: list[str] = []
            problem: BaseException | None = None
            scene_of = scenes() if scenes is not None else None
            try:
                for place, pixels in _clips_of(videos[ordinal], clip, damage.append, 0 if readers == 1 else 1, stop):
                    if scene_of is not None:
                        pixels = np.concatenate([pixels, scene_of(place, pixels)[None]])
                    put(_Cut(ordinal, place, views(pixels)))
                    if ordinal in unwanted:
                        break
            except BaseException as error:  # the waiting consumer must learn of any error
                problem = error
            if stop.is_set():
                return
            put(_Ended(ordinal, damage[0] if damage else None, problem))

    def arriving() -> Iterator[_Cut | _Ended]:
        left = len(videos)
        while left:
            item = ready.get()
            left -= isinstance(item, _Ended)
            yield item

    threads = [threading.Thread(target=read, name=f"reader-{n}") for n in range(min(readers, len(videos)))]
    for thread in threads:
        thread.start()
    try:
        yield arriving()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _clips_of(
    video: Recorded, clip: ClipSpec, damaged: Callable[[str], None], threads: int, stop: threading.Event
) -> Iterator[tuple[Place, Clips]]:
    """The clips of one video, (T, H, W, 3) each. Raises SourceError: it cannot be read."""
    source = _open(video, on_damage=damaged, threads=threads)
    segment = 0
    with closing(source.frames([clip.frame_spec], stop)) as frames:  # type: ignore[type-var]
        for item in cut(frames, clip):
            if isinstance(item, SegmentOver):
                segment += 1
            else:
                yield Place(segment, item.start, item.end), item.pixels
