"""The output of a network for the clips of videos: computed once, afterwards from the cache.

It is kept under a name that hashes its inputs (the video's content, the clip settings, the backbone's weights, the
engine), so that training again costs no decoding and no inference, and a changed video or setting never finds a stale
entry.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from models.backbones import weights
from models.data.contrast import Contrast
from models.data.extraction import (
    Encoded,
    Engine,
    FeaturesError,
    Floats,
    Place,
    Recorded,
    SceneOf,
    Unreadable,
    as_it_is,
    content_of,
    extract,
    mirrored,
    path_of,
    readers_for,
)
from models.engines.device import fastest_engine
from pipeline import files
from pipeline.windows import ClipSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClips:
    """Values of one video's n clips, in order.

    Attributes:
        segments: int64 (n,), ordinal of the segment that each clip was cut from.
        starts, ends: float64 (n,), of the clips, seconds of the stream's clock.
        damage: description of the part that could not be decoded, without the video's name; empty where all could.
    """

    segments: npt.NDArray[np.int64]
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    damage: str = ""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def of_clips(self) -> dict[str, Any]:
        """Return these fields alone, for other values of the same clips."""
        return {field.name: getattr(self, field.name) for field in fields(OfClips)}


def columns(places: Sequence[Place], damage: str) -> dict[str, Any]:
    """Return the fields of :class:`OfClips` as they are written into an ``.npz`` file."""
    return {
        "segments": np.array([place.segment for place in places], np.int64),
        "starts": np.array([place.start for place in places], np.float64),
        "ends": np.array([place.end for place in places], np.float64),
        "damage": np.array(damage),
    }


def read_columns(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Read these fields again; an earlier mistwatch did not write damage.

    Raises:
        KeyError, ValueError: the file is damaged.
    """
    arrays = {name: stored[name] for name in ("segments", "starts", "ends")}
    return {**arrays, "damage": str(stored["damage"]) if "damage" in stored else ""}


Kept = TypeVar("Kept", bound=OfClips)


class Draft(Protocol):
    """The entry of one video while it is computed."""

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        """Take the next clip's arrays, (1, ...) each."""
        ...

    def keep(self, damage: str) -> None:
        """Give the complete entry its name. ``damage``: see :class:`OfClips`."""
        ...

    def remove(self) -> None:
        """Remove the draft, unless it was kept."""
        ...


class VideoStore(ABC, Generic[Kept]):
    """A cache with an entry for each video; a subclass defines the entries and their files.

    Args:
        settings: everything that an entry depends on, beside a video's content; plain JSON.
        scenes: makes the standing scenes of a video's clips, which the engine gets too; see
            :func:`models.data.extraction.extract`.
    """

    def __init__(
        self,
        clip: ClipSpec,
        *,
        settings: Mapping[str, Any],
        mirrored: bool,
        folder: Path,
        engine: str,
        scenes: Callable[[], SceneOf] | None = None,
    ) -> None:
        self.clip = clip
        self.settings = dict(settings)
        self.mirrored = mirrored
        self.computed = 0  #: videos that were not in the cache
        self._folder = folder
        self._engine_name = engine
        self._scenes = scenes

    def of(self, video: Recorded) -> Kept:
        """Return the entry of ``video``, which has no clips if the video is too short or too sparse for one.

        Raises:
            FeaturesError: it cannot be read, the network gives no numbers, or the cache cannot be read or written.
            models.backbones.weights.WeightsError: the backbone's weights are not here.
        """
        place = self._place(video)
        if (kept := self._kept(place)) is not None:
            return kept
        for problem in self.fill([video]).values():
            raise problem
        if (kept := self._kept(place)) is None:
            raise FeaturesError(
                f"{path_of(video)}: another process is deleting from the cache {self._folder}; run the command again"
            )
        return kept

    def fill(
        self, videos: Iterable[Recorded], *, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[Path, FeaturesError]:
        """Compute the entries that are missing, the videos side by side: faster than one :meth:`of` after the other.

        Args:
            progress: called with (videos done, videos in all).

        Returns:
            The errors of the videos that cannot be used.

        Raises:
            FeaturesError: the cache cannot be read or written.
            models.backbones.weights.WeightsError: the backbone's weights are not here.
        """
        videos = list(dict.fromkeys(videos))
        failed: dict[Path, FeaturesError] = {}
        missing: dict[Path, Recorded] = {}  # place in the cache → video
        for video in videos:
            try:
                place = self._place(video)
            except Unreadable as error:
                failed[path_of(video)] = error
                continue
            if place not in missing and self._kept(place) is None:
                missing[place] = video
        done = len(videos) - len(missing)
        progress(done, len(videos))
        try:
            for video, problem in self._compute(missing):
                done += 1
                if problem is not None:
                    failed[path_of(video)] = FeaturesError(problem)
                progress(done, len(videos))
        except OSError as error:
            raise FeaturesError(f"cannot write to the cache {self._folder}: {error.strerror}") from None
        return failed

    @abstractmethod
    def _engine(self) -> Engine:
        """Return the opened engine."""

    @abstractmethod
    def _read(self, place: Path) -> Kept:
        """Read an entry.

        Raises:
            OSError: it cannot be read.
            ValueError, KeyError, EOFError, zipfile.BadZipFile: it is damaged.
        """

    @abstractmethod
    def _draft(self, place: Path) -> Draft:
        """Begin a video."""

    def _kept(self, place: Path) -> Kept | None:
        """Read an entry; None where it is missing or damaged, and is to be computed again.

        Raises:
            FeaturesError: it exists and cannot be read now. It may have cost hours, so it is not thrown away.
        """
        try:
            return self._read(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FeaturesError(f"cannot read the cache {self._folder}: {error.strerror}") from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _place(self, video: Recorded) -> Path:
        """Return the place of the video's entry, which may be missing. Raises Unreadable: the video."""
        depends_on = self.settings | {"content": content_of(video)}
        return self._folder / hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]

    def _compute(self, missing: dict[Path, Recorded]) -> Iterator[tuple[Recorded, str | None]]:
        if not missing:
            return
        places, videos = list(missing), list(missing.values())
        begun: dict[int, Draft] = {}
        views = mirrored if self.mirrored else as_it_is
        files.remove_stale_drafts(self._folder)
        try:
            readers = readers_for(self._engine_name)
            for event in extract(videos, self.clip, self._engine(), views=views, scenes=self._scenes, readers=readers):
                draft = begun.get(event.video)
                if draft is None:
                    draft = begun[event.video] = self._draft(places[event.video])
                if isinstance(event, Encoded):
                    draft.add(event.place, event.arrays)
                    continue
                if event.error is None:
                    draft.keep(_nameless(event.damage, videos[event.video]))
                    self.computed += 1
                begun.pop(event.video).remove()
                yield videos[event.video], event.error
        finally:
            for draft in begun.values():
                draft.remove()


class BackboneStore(VideoStore[Kept]):
    """A cache of what a published backbone gives; a subclass opens the engine.

    Args:
        folder: of the cache; :attr:`KIND` in the user's when None.
        engine: ``cuda``, ``openvino`` or ``cpu``, the fastest available one when None; or an opened engine.
        contrast: the entries are differences from the standing scene; an opened engine then gets each clip with its
            scene as one frame more.
        own: the subclass's further settings that an entry depends on; plain JSON.

    Raises:
        models.backbones.weights.UnknownWeightsError: the backbone is unknown.
    """

    KIND: ClassVar[str]  #: name of the cache's folder
    #: To be raised when the entries of the same video and settings change (decoding, scaling, cutting, the standing
    #: scene, rounding).
    FORMAT: ClassVar[int] = 1

    def __init__(
        self,
        clip: ClipSpec,
        *,
        backbone: str = "i3d-kinetics400",
        mirrored: bool = False,
        folder: Path | None = None,
        engine: str | Engine | None = None,
        contrast: Contrast | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        self.backbone = backbone
        self.contrast = contrast
        self._opened = engine if isinstance(engine, Engine) else None
        name = engine.name if isinstance(engine, Engine) else engine or fastest_engine()
        settings = {
            "format": self.FORMAT,
            "clip": asdict(clip),
            "backbone": weights.published(backbone).tensors_sha256,
            "engine": name,
            "mirrored": mirrored,
            **({} if contrast is None else {"contrast": contrast.model_dump(mode="json", exclude_none=True)}),
            **(own or {}),
        }
        cache = folder or weights.cache_dir() / self.KIND
        scenes = contrast.scenes if contrast is not None else None
        super().__init__(clip, settings=settings, mirrored=mirrored, folder=cache, engine=name, scenes=scenes)

    @abstractmethod
    def _open_engine(self) -> Engine:
        """Open the engine of this name."""

    def _engine(self) -> Engine:
        if self._opened is None:
            self._opened = self._open_engine()
        return self._opened


def _nameless(damage: str | None, video: Recorded) -> str:
    """Return a reader's description of damage without the video's name: the same content may have another name."""
    if damage is None:
        return ""
    _, named, rest = damage.partition(f"{path_of(video)}: ")
    return rest if named else damage
