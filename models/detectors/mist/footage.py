"""The clips of a job's videos as the networks of both stages read them.

Where stage 2 is trained on maps, one pass of the backbone gives them and the features of stage 1
(:mod:`models.data.maps`). Where it trains the backbone too, it reads the clips themselves
(:mod:`models.data.clip_store`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.data.clip_store import ClipStore
from models.data.features import FeatureStore
from models.data.maps import MapStore, pooled
from models.data.video_store import OfClips, VideoStore
from models.detectors.mist.bag import Bag
from pipeline.printable import storable

if TYPE_CHECKING:
    from models.data.npy_rows import Rows
    from models.detectors.mist.config import MistConfig
    from pipeline.manifests.manifest import Video
    from pipeline.windows import ClipSpec


@dataclass(frozen=True, slots=True)
class Seen(OfClips):
    """A video's n clips as the networks read them.

    Attributes:
        features: of stage 1, float32 (n, D), or with a grid (n, cells, D).
        inputs: of stage 2: both maps of the backbone, or the clips themselves, uint8 (n, T, H, W, 3); empty
            without stage 2.
    """

    features: npt.NDArray[np.float32]
    inputs: tuple[Rows, ...]

    def part(self, chosen: npt.NDArray[np.intp]) -> Seen:
        """Return some of the clips."""
        return Seen(
            self.features[chosen],
            tuple(values[chosen] for values in self.inputs),
            segments=self.segments[chosen],
            starts=self.starts[chosen],
            ends=self.ends[chosen],
            damage=self.damage,
        )


Store = MapStore | FeatureStore


class _Cut:
    """Clips that are cut in one way.

    Args:
        config: layers, grid, backbone, and the inputs of stage 2.
        engine: of the backbone; the fastest one available when None.
        store: of maps or, where the recipe needs none, of features; the user's cache when None.
    """

    def __init__(self, clip: ClipSpec, config: MistConfig, engine: str | None, store: Store | None) -> None:
        self._layers, self._grid = config.layers, config.grid
        size = config.encoder.size if config.encoder is not None else None
        if store is None and size == "maps":
            assert config.encoder is not None
            late = config.encoder.late
            store = MapStore(clip, late=late, backbone=config.backbone, engine=engine, contrast=config.contrast)
        elif store is None:
            store = FeatureStore(
                clip, backbone=config.backbone, layers=config.layers, engine=engine, contrast=config.contrast
            )
        self._seen = store
        self.stores: tuple[VideoStore[Any], ...] = (store,)
        self._clips = ClipStore(clip) if size == "full" else None
        if self._clips is not None:
            self.stores = (*self.stores, self._clips)

    def clips(self, video: Video) -> OfClips:
        found: OfClips = self.stores[0].of(video)
        return found

    def read(self, video: Video) -> Seen:
        if isinstance(self._seen, MapStore):
            maps = self._seen.of(video)
            features = pooled(maps, self._layers, grid=self._grid)
            seen = Seen(features, (maps.early, maps.late), **maps.of_clips)
        else:
            found = self._seen.of(video)
            seen = Seen(found.values, (), **found.of_clips)
        return seen if self._clips is None else replace(seen, inputs=(self._clips.of(video).pixels,))


class Footage:
    """The clips of a job's videos, from the cache or computed.

    Args:
        config: clips, layers, backbone.
        engine: of the backbone; the fastest one available when None.
        store: of maps (of features where the recipe needs no maps) of the training's clips, instead of the user's
            cache.
        live: likewise of the clips as they are cut live.
        mirror: likewise of the features of the mirrored videos.
    """

    def __init__(
        self,
        config: MistConfig,
        *,
        engine: str | None = None,
        store: Store | None = None,
        live: Store | None = None,
        mirror: FeatureStore | None = None,
    ) -> None:
        self._layers, self._grid = config.layers, config.grid
        self._extra_normals = config.extra_normals
        self._training = _Cut(config.training_clip, config, engine, store)
        self._every = config.clip.stride // config.training_stride
        self._live = None  # they are some of the training's
        if config.clip.stride % config.training_stride:
            self._live = _Cut(config.clip.spec, config, engine, live)
        self._mirror = None
        if config.mirrored:
            self._mirror = mirror or FeatureStore(
                config.training_clip,
                backbone=config.backbone,
                layers=config.layers,
                mirrored=True,
                engine=engine,
                contrast=config.contrast,
            )

    @property
    def _learnt_from(self) -> list[VideoStore[Any]]:
        return [*self._training.stores, *([] if self._mirror is None else [self._mirror])]

    @property
    def _judged_by(self) -> list[VideoStore[Any]]:
        return list((self._live or self._training).stores)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the networks' inputs depend on, beside the videos; plain JSON."""
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
        extra: Sequence[Video] = (),
        *,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> dict[Path, str]:
        """Compute what the cache lacks.

        Args:
            learnt_from: videos for :meth:`training` and :meth:`bag`.
            judged_by: videos for :meth:`live`.
            extra: ordinary footage for :meth:`bags`.

        Returns:
            The unusable videos with the reason, one line each.

        Raises:
            FeaturesError: the cache cannot be written.
            models.backbones.weights.WeightsError: the backbone's weights are not here.
        """
        work: list[tuple[VideoStore[Any], Sequence[Video]]] = []
        work += [(store, [*learnt_from, *extra]) for store in self._training.stores]
        work += [(self._mirror, learnt_from)] if self._mirror is not None else []
        work += [(store, judged_by) for store in self._judged_by]
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
        """Return the places of its clips as the training cuts them, or as they are cut live; not their content."""
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
        """Return the clips as the training cuts them."""
        return self._training.read(video)

    def live(self, video: Video) -> Seen:
        """Return the clips as they are cut live."""
        if self._live is not None:
            return self._live.read(video)
        seen = self.training(video)
        return seen if self._every == 1 else seen.part(every(seen.segments, self._every))

    def bag(self, video: Video) -> Bag:
        """Return the training's clips for stage 1, with those of the mirrored video if the recipe uses them."""
        mirrored = self._mirror.of(video).values if self._mirror is not None else None
        return Bag(self.training(video).features, video.label, mirrored)

    def bags(self, videos: Sequence[Video], extra: Sequence[Video] = ()) -> list[Bag]:
        """Return the bags of stage 1: those of ``videos``, and those that ordinary footage is cut into.

        Args:
            extra: ordinary footage; see :class:`models.detectors.mist.config.ExtraNormals`.
        """
        bags = [self.bag(video) for video in videos]
        if not extra or self._extra_normals is None:
            return bags
        length = max(1, int(np.median([len(bag.features) for bag in bags])))
        weight = self._extra_normals.weight
        return [*bags, *(one for video in extra for one in _pieces(self.training(video).features, length, weight))]


def _pieces(features: npt.NDArray[np.float32], length: int, weight: float) -> Iterator[Bag]:
    """Cut the features of a long normal video into bags of ``length`` clips; the last one may be shorter."""
    for first in range(0, len(features), length):
        yield Bag(features[first : first + length], 0, weight=weight)


def every(segments: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.intp]:
    """Return the ordinals of the first clip of each segment, and of every n-th after it."""
    starts = np.flatnonzero(np.diff(segments, prepend=-1))
    within = np.arange(len(segments)) - np.repeat(starts, np.diff(starts, append=len(segments)))
    return np.flatnonzero(within % n == 0)


def names_of(videos: Sequence[Video]) -> dict[Path, str]:
    """Return a name for each video that is independent of the data set's place: its path below the common folder."""
    if not videos:
        return {}
    common = os.path.commonpath([video.path.parent for video in videos])
    return {video.path: storable(video.path.relative_to(common).as_posix()) for video in videos}
