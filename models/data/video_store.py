"""What a network says of the clips of videos: computed once, afterwards from the cache.

It is kept under a name made of all that it depends on (the video's content, the clip settings, the backbone's weights,
what computed it), so that training again costs no decoding and no inference, and a changed video or setting never meets
what is stale.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from models.data.extraction import (
    Encoded,
    Engine,
    Floats,
    Place,
    Recorded,
    Unreadable,
    as_it_is,
    content_of,
    extract,
    mirrored,
    path_of,
    readers_for,
)
from pipeline import files
from pipeline.errors import MistwatchError
from pipeline.windows import ClipSpec


class FeaturesError(MistwatchError):
    """A video's features cannot be had. One line that names the video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClips:
    """Something of one video's n clips, in order.

    Attributes:
        segments: int64 (n,), ordinal of the segment that each clip was cut from.
        starts, ends: float64 (n,), of the clips, seconds of the stream's clock.
        damage: what of the video could not be decoded, in words that do not name it; empty where all could.
    """

    segments: npt.NDArray[np.int64]
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    damage: str = ""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def of_clips(self) -> dict[str, Any]:
        """These fields alone, for something else of the same clips."""
        return {field.name: getattr(self, field.name) for field in fields(OfClips)}


def columns(places: Sequence[Place], damage: str) -> dict[str, Any]:
    """What :class:`OfClips` holds, as it is written into an ``.npz`` file."""
    return {
        "segments": np.array([place.segment for place in places], np.int64),
        "starts": np.array([place.start for place in places], np.float64),
        "ends": np.array([place.end for place in places], np.float64),
        "damage": np.array(damage),
    }


def read_columns(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """The same, read again; an earlier mistwatch did not write of damage.

    Raises:
        KeyError, ValueError: it is not what was written.
    """
    arrays = {name: stored[name] for name in ("segments", "starts", "ends")}
    return {**arrays, "damage": str(stored["damage"]) if "damage" in stored else ""}


Kept = TypeVar("Kept", bound=OfClips)


class Draft(Protocol):
    """What is kept of one video, while it is computed."""

    def add(self, place: Place, arrays: tuple[Floats, ...]) -> None:
        """Take the next clip's arrays, (1, ...) each."""
        ...

    def keep(self, damage: str) -> None:
        """All clips have come: give it its name, whole. ``damage``: see :class:`OfClips`."""
        ...

    def remove(self) -> None:
        """Leave nothing but what was kept."""
        ...


class VideoStore(ABC, Generic[Kept]):
    """A cache by video; a subclass says what is kept, and how.

    Args:
        clip: how the clips are cut.
        settings: all that what is kept depends on, beside a video's content; plain JSON.
        mirrored: of the videos as a mirror shows them, left and right exchanged.
        folder: of the cache.
        engine: name of what computes it.
    """

    def __init__(
        self, clip: ClipSpec, *, settings: Mapping[str, Any], mirrored: bool, folder: Path, engine: str
    ) -> None:
        self.clip = clip
        self.settings = dict(settings)
        self.mirrored = mirrored
        self.computed = 0  #: videos that were not in the cache
        self._folder = folder
        self._engine_name = engine

    def of(self, video: Recorded) -> Kept:
        """What is kept of ``video``; of none of its clips if it is shorter than one.

        Raises:
            FeaturesError: it cannot be read, the network gives no numbers, or the cache cannot be read or written.
            models.backbones.weights.WeightsError: the backbone's weights are not here.
        """
        try:
            place = self._place(video)
        except Unreadable as error:
            raise FeaturesError(str(error)) from None
        if (kept := self._kept(place)) is not None:
            return kept
        for problem in self.fill([video]).values():
            raise problem
        if (kept := self._kept(place)) is None:
            raise FeaturesError(f"{path_of(video)}: somebody else removes from the cache {self._folder}; run it again")
        return kept

    def fill(
        self, videos: Iterable[Recorded], *, progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> dict[Path, FeaturesError]:
        """Compute whatever is not in the cache, the videos side by side: faster than one :meth:`of` after the other.

        Args:
            videos: any.
            progress: told (videos done, videos in all).

        Returns:
            The videos that cannot be used, and why.

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
                failed[path_of(video)] = FeaturesError(str(error))
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
        """The opened engine."""

    @abstractmethod
    def _read(self, place: Path) -> Kept:
        """What is kept there.

        Raises:
            OSError: it cannot be read.
            ValueError, KeyError, EOFError, zipfile.BadZipFile: it is damaged.
        """

    @abstractmethod
    def _draft(self, place: Path) -> Draft:
        """Begin a video."""

    def _kept(self, place: Path) -> Kept | None:
        """What is kept there; None where there is nothing, or it is damaged: it is then computed again.

        Raises:
            FeaturesError: it is there, and cannot be read now. It may have cost hours, so it is not thrown away.
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
        """Where what is kept of the video is or would be.

        Raises:
            Unreadable: the video.
        """
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
            for event in extract(videos, self.clip, self._engine(), views=views, readers=readers):
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


def _nameless(damage: str | None, video: Recorded) -> str:
    """What a reader says of damage, without the video's name: the same content may be kept under another one."""
    if damage is None:
        return ""
    _, named, rest = damage.partition(f"{path_of(video)}: ")
    return rest if named else damage
