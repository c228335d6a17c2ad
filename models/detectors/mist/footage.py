"""What the networks of both stages see of a job's videos, and how scores of clips become scored videos.

Where stage 2 is trained on maps, one pass of the backbone gives them and the features of stage 1
(:mod:`models.data.maps`). Where it trains the backbone too, it reads the clips themselves
(:mod:`models.data.clip_store`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.clip_store import ClipStore
from models.data.features import FeatureStore
from models.data.maps import MapStore, pooled
from models.data.npy_rows import Rows
from models.data.video_store import OfClips, VideoStore
from models.detectors.mist.config import MistConfig
from models.detectors.mist.generator_training import Bag
from models.jobs.thresholds import ClipScores
from operators.figures.videos import ScoredVideo, scored_video
from pipeline.manifests.manifest import Video
from pipeline.sources.recordings import open_recording
from pipeline.windows import ClipSpec


@dataclass(frozen=True, slots=True)
class Seen(OfClips):
    """What the networks see of a video's n clips.

    Attributes:
        features: float32 (n, D), or with a grid (n, cells, D): what stage 1 reads.
        inputs: what stage 2 reads: both maps of the backbone, or the clips themselves, uint8 (n, T, H, W, 3).
    """

    features: npt.NDArray[np.float32]
    inputs: tuple[Rows, ...]

    def part(self, chosen: npt.NDArray[np.intp]) -> Seen:
        """Some of the clips."""
        return Seen(
            self.features[chosen],
            tuple(values[chosen] for values in self.inputs),
            segments=self.segments[chosen],
            starts=self.starts[chosen],
            ends=self.ends[chosen],
            damage=self.damage,
        )


class _Cut:
    """The clips of one way to cut them.

    Args:
        clip: how.
        config: layers, grid, backbone, and what stage 2 reads.
        engine: what the backbone runs on; the fastest there is when None.
        maps: where maps come from; the user's cache when None.
    """

    def __init__(self, clip: ClipSpec, config: MistConfig, engine: str | None, maps: MapStore | None) -> None:
        self._layers, self._grid = config.layers, config.grid
        self.maps: MapStore | None = None
        self.stores: tuple[VideoStore[Any], ...]
        if config.encoder.size == "maps":
            self.maps = maps or MapStore(clip, backbone=config.backbone, engine=engine)
            self.stores = (self.maps,)
        else:
            self._features = FeatureStore(clip, backbone=config.backbone, layers=config.layers, engine=engine)
            self.stores = (self._features,)
        self._clips = ClipStore(clip) if config.encoder.size == "full" else None
        if self._clips is not None:
            self.stores = (*self.stores, self._clips)

    def clips(self, video: Video) -> OfClips:
        found: OfClips = self.stores[0].of(video)
        return found

    def of(self, video: Video) -> Seen:
        if self.maps is not None:
            maps = self.maps.of(video)
            features = pooled(maps, self._layers, grid=self._grid)
            seen = Seen(features, (maps.early, maps.late), **maps.of_clips)
        else:
            found = self._features.of(video)
            seen = Seen(found.values, (), **found.of_clips)
        return seen if self._clips is None else replace(seen, inputs=(self._clips.of(video).pixels,))


class Footage:
    """The clips of a job's videos, from the cache or computed.

    Args:
        config: clips, layers, backbone.
        engine: what the backbone runs on; the fastest there is when None.
        maps: where maps of the training's clips come from, instead of the user's cache.
        live: likewise of the clips as they are cut live.
        mirror: likewise the features of the videos in a mirror.
    """

    def __init__(
        self,
        config: MistConfig,
        *,
        engine: str | None = None,
        maps: MapStore | None = None,
        live: MapStore | None = None,
        mirror: FeatureStore | None = None,
    ) -> None:
        self._layers, self._grid = config.layers, config.grid
        self._training = _Cut(config.training_clip, config, engine, maps)
        self._every = config.clip.stride // config.training_stride
        self._live = None  # they are some of the training's
        if config.clip.stride % config.training_stride:
            self._live = _Cut(config.clip.spec, config, engine, live)
        self._mirror = None
        if config.mirrored:
            self._mirror = mirror or FeatureStore(
                config.training_clip, backbone=config.backbone, layers=config.layers, mirrored=True, engine=engine
            )

    @property
    def _learnt_from(self) -> list[VideoStore[Any]]:
        return [*self._training.stores, *([] if self._mirror is None else [self._mirror])]

    @property
    def _judged_by(self) -> list[VideoStore[Any]]:
        return list((self._live or self._training).stores)

    @property
    def settings(self) -> dict[str, Any]:
        """All that what the networks see depends on, beside the videos; plain JSON."""
        return {
            "training": [store.settings for store in self._learnt_from],
            "live": [store.settings for store in self._judged_by],
            "every": self._every,
            "layers": list(self._layers),
            "grid": self._grid,
        }

    def fill(
        self,
        learnt_from: Sequence[Video],
        judged_by: Sequence[Video],
        *,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> dict[Path, str]:
        """Compute what is not in the cache.

        Args:
            learnt_from: videos that :meth:`training` and :meth:`bag` will be asked for.
            judged_by: videos that :meth:`live` will be asked for.
            progress: told (done, in all).

        Returns:
            The videos that cannot be used, and why, in one line each.

        Raises:
            FeaturesError: the cache cannot be written.
            models.backbones.weights.WeightsError: the backbone's weights are not here.
        """
        work = [(store, learnt_from) for store in self._learnt_from] + [(store, judged_by) for store in self._judged_by]
        total = sum(len(videos) for _, videos in work)
        bad: dict[Path, str] = {}
        before = 0
        for store, videos in work:

            def filled(done: int, _: int, before: int = before) -> None:
                progress(before + done, total)

            bad |= {path: str(error) for path, error in store.fill(videos, progress=filled).items()}
            before += len(videos)
        return bad

    def clips(self, video: Video, *, live: bool = False) -> OfClips:
        """Where its clips are as the training cuts them, or as they are cut live; not what they show."""
        if live and self._live is not None:
            return self._live.clips(video)
        found = self._training.clips(video)
        if not live:
            return found
        chosen = every(found.segments, self._every)
        return OfClips(
            segments=found.segments[chosen], starts=found.starts[chosen], ends=found.ends[chosen], damage=found.damage
        )

    def training(self, video: Video) -> Seen:
        """The clips as the training cuts them."""
        return self._training.of(video)

    def live(self, video: Video) -> Seen:
        """The clips as they are cut live."""
        if self._live is not None:
            return self._live.of(video)
        seen = self.training(video)
        return seen if self._every == 1 else seen.part(every(seen.segments, self._every))

    def bag(self, video: Video) -> Bag:
        """The training's clips for stage 1, with those of the mirrored video if the job wants them."""
        mirrored = self._mirror.of(video).values if self._mirror is not None else None
        return Bag(self.training(video).features, video.label, mirrored)


def every(segments: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.intp]:
    """Ordinals of the first clip of each segment, and of every n-th after it."""
    starts = np.flatnonzero(np.diff(segments, prepend=-1))
    within = np.arange(len(segments)) - np.repeat(starts, np.diff(starts, append=len(segments)))
    return np.flatnonzero(within % n == 0)


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """When a video's n clips are: float64 (n,) each, seconds of its clock.

    Attributes:
        segments: int64 (n,), ordinal of the segment that each clip was cut from: its clock may have been set back.
    """

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    segments: npt.NDArray[np.int64]


def judged(name: str, group: str, video: Video, scores: ClipScores, times: ClipTimes) -> ScoredVideo:
    """A video with its clips' scores, and with those of its frames where it is known which of them are abnormal.

    Args:
        name: of the video, unlike any other's.
        group: what it has in common with others.
        scores: (n,) of its clips, in [0, 1].
        times: of the same clips.

    Raises:
        pipeline.sources.base.SourceError: its frames are to be counted, and it cannot be read.
        ValueError: an interval past its end.
    """
    if video.label and not video.intervals:
        return scored_video(name, video.label, scores, group=group)
    frames = open_recording(video.path, fps=video.fps).frame_index()
    places = zip(times.segments.tolist(), times.starts.tolist(), times.ends.tolist(), strict=True)
    first, end = np.array([frames.span(*place) for place in places], np.int64).reshape(-1, 2).T
    return scored_video(
        name,
        video.label,
        scores,
        starts=first,
        clip_frames=max(1, int(np.median(end - first))),
        frames=len(frames),
        intervals=video.intervals,
        group=group,
    )


def names_of(videos: Sequence[Video]) -> dict[Path, str]:
    """A name for each video that does not depend on where the data set is: its path below the folder of all."""
    if not videos:
        return {}
    common = os.path.commonpath([video.path.parent for video in videos])
    return {video.path: video.path.relative_to(common).as_posix() for video in videos}
