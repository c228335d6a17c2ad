"""Features of a data set as files: one ``.npy`` a video, and an index that describes them.

    FOLDER/index.json               settings, and for each video its file, content, clips and their times
    FOLDER/NAME-CONTENT.npy         float32 (clips, D), or (clips, 10, D) with ten crops

A file counts when the index names it, and is under its name when it is whole. So whatever ends a run, the next one
goes on, and the folder never holds features of two settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.backbones import weights
from models.backbones.layers import WIDTHS, Layers
from models.data.contrast import Contrast
from models.data.extraction import (
    Encoded,
    Engine,
    FeaturesError,
    Finished,
    Place,
    Recorded,
    Unreadable,
    as_it_is,
    content_of,
    extract,
    mirrored,
    path_of,
    readers_for,
    seconds_of,
    ten_crops,
)
from models.data.npy_rows import NpyRows
from models.engines.device import fastest_engine
from pipeline import files
from pipeline.errors import UsageError
from pipeline.printable import storable
from pipeline.windows import ClipSpec, StoredClip

INDEX = "index.json"

#: To be raised when the features of the same video and settings change, or the form of the index.
_FORMAT = 1
#: Seconds between writes of the index: so much work is lost when the process is killed.
_INDEX_SECONDS = 10.0
_PROBLEMS_SHOWN = 10


class OtherFeatures(FeaturesError, UsageError):
    """The folder holds features of other settings, or something else."""


class FeatureSettingsError(UsageError):
    """Settings of features that exclude one another."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureSettings(_Part):
    """The settings that the features of a video depend on.

    Attributes:
        clip: the clips; ``clip.stride`` below ``clip.frames`` makes them overlap.
        contrast: the standing scene whose features are subtracted; None: they are the clip's own.
        mirrored: left and right of the videos are exchanged.
        crops: 10: corners and centre, and the same of the mirror image, of a picture of ``crop_from``.
        crop_from: (height, width) that the video is scaled to before it is cropped.
        engine: engine that computes them; engines differ in the last digits.
    """

    format: Literal[1] = 1
    clip: StoredClip
    backbone: str = "i3d-kinetics400"
    tensors_sha256: str
    layers: Layers = ("mixed_5c",)
    contrast: Contrast | None = None
    mirrored: bool = False
    crops: Literal[1, 10] = 1
    crop_from: tuple[int, int] | None = None
    engine: str

    @classmethod
    def for_clip(
        cls,
        clip: ClipSpec,
        *,
        backbone: str = "i3d-kinetics400",
        layers: Sequence[str] = ("mixed_5c",),
        contrast: Contrast | None = None,
        mirrored: bool = False,
        crops: int = 1,
        engine: str | None = None,
    ) -> FeatureSettings:
        """Return settings, with those filled in that follow from others.

        Args:
            clip: of the network; with ten crops the video is scaled as MIST and its like do for 224×224: to 256×340,
                and for other sizes in proportion.
            engine: the fastest available one when None.

        Raises:
            FeatureSettingsError: the number of crops is not 1 or 10, or ten crops, half of them mirrored, are to be
                mirrored too.
            models.backbones.weights.UnknownWeightsError: the backbone is unknown.
        """
        if crops not in (1, 10):
            raise FeatureSettingsError(f"crops must be 1 or 10, got {crops}")
        if crops == 10 and mirrored:
            raise FeatureSettingsError("ten crops are of the video and its mirror image already; leave mirrored out")
        return cls(
            clip=StoredClip.from_spec(clip),
            backbone=backbone,
            tensors_sha256=weights.published(backbone).tensors_sha256,
            layers=tuple(layers),
            contrast=contrast,
            mirrored=mirrored,
            crops=crops,
            crop_from=(round(clip.height * 256 / 224), round(clip.width * 340 / 224)) if crops == 10 else None,
            engine=engine or fastest_engine(),
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def row(self) -> tuple[int, ...]:
        """Return the shape of a clip's features."""
        width = sum(WIDTHS[layer] for layer in self.layers)
        return (width,) if self.crops == 1 else (self.crops, width)


class Entry(_Part):
    """A video of the index.

    Attributes:
        path: of the video when they were computed.
        segments: ordinal of the segment that each clip was cut from.
        starts, ends: of the clips, seconds of the stream's clock.
    """

    file: str
    path: str
    content: str
    clips: int = Field(ge=0)
    segments: list[int]
    starts: list[float]
    ends: list[float]


class Index(_Part):
    """Content of a folder of features."""

    settings: FeatureSettings
    settings_sha256: str
    videos: list[Entry] = []


@dataclass(slots=True)
class Extraction:
    """Result of an extraction.

    Attributes:
        computed, kept: numbers of videos whose features were computed now, or existed already.
        short: videos of which no clip can be cut: too short, or too sparse; their features have no rows.
        damaged: videos that could be decoded only in part, a line each.
        skipped: videos that could not be used, a line each.
    """

    computed: int = 0
    kept: int = 0
    clips: int = 0
    short: list[Path] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


Progress = Callable[[float, float, int], None]  #: (seconds of video done, in all, videos done)


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder; None where there is none.

    Raises:
        OtherFeatures: it cannot be read, or another version of mistwatch wrote it.
    """
    file = folder / INDEX
    try:
        return Index.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        what = error.strerror if isinstance(error, OSError) else "damaged, or written by another version of mistwatch"
        raise OtherFeatures(f"{file}: cannot be used: {what}; name another folder, or remove this one") from None


def write_features(
    videos: Sequence[Recorded],
    folder: Path,
    settings: FeatureSettings,
    *,
    skip_bad: bool = False,
    engine: Engine | None = None,
    progress: Progress = lambda *_: None,
) -> Extraction:
    """Compute the features of all videos that the folder does not hold yet.

    Args:
        videos: any; one with the same name and content as another is that one.
        settings: those of the existing features, too.
        skip_bad: leave out a video that cannot be read, and go on.
        engine: an opened engine; that of the settings when None. With contrast it gets each clip with its scene as one
            frame more.

    Raises:
        OtherFeatures: the folder holds features of other settings, or another process is writing there.
        FeaturesError: a video cannot be read (the first ten, before anything is computed), or gives no numbers.
        models.backbones.weights.WeightsError: the backbone's weights are not here.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        index = _Writer(folder, settings)
        result = Extraction()
        todo: dict[str, Recorded] = {}  # file of the features → video
        lengths: dict[str, float] = {}  # seconds
        contents: dict[str, str] = {}
        for video in dict.fromkeys(videos):
            try:
                content, seconds = content_of(video), seconds_of(video)
            except Unreadable as error:
                result.skipped.append(str(error))
                continue
            file = f"{storable(path_of(video).stem)}-{content[:8]}.npy"
            if file in contents:
                continue  # a copy
            contents[file], lengths[file] = content, seconds
            entry = index.sound(file, content)
            if entry is None:
                todo[file] = video
                continue
            result.kept += 1
            result.clips += entry.clips
            if not entry.clips:
                result.short.append(path_of(video))
        _refuse(result.skipped, skip_bad)

        total = sum(lengths.values())
        done = total - sum(lengths[file] for file in todo)
        at: dict[int, float] = {}  # where in each video, seconds

        def report() -> None:
            progress(done + sum(at.values()), total, result.kept + result.computed)

        report()
        waiting = list(todo)
        with index:
            for event in _events(list(todo.values()), settings, engine) if todo else ():
                file = waiting[event.video]
                video = path_of(todo[file])
                if isinstance(event, Encoded):
                    index.add(file, event)
                    at[event.video] = min(event.place.end, lengths[file])
                else:
                    at[event.video] = lengths[file]
                    if event.error is not None:
                        index.drop(file)
                        result.skipped.append(event.error)
                        _refuse(result.skipped, skip_bad)
                    else:
                        clips = index.keep(file, video, contents[file])
                        result.computed += 1
                        result.clips += clips
                        if not clips:
                            result.short.append(video)
                    if event.damage is not None:
                        result.damaged.append(event.damage)
                report()
        return result


def _refuse(problems: Sequence[str], skip_bad: bool) -> None:
    if problems and not skip_bad:
        more = [f"{len(problems) - _PROBLEMS_SHOWN} more videos"] * (len(problems) > _PROBLEMS_SHOWN)
        raise FeaturesError("\n".join([*problems[:_PROBLEMS_SHOWN], *more]))


def _events(
    videos: Sequence[Recorded], settings: FeatureSettings, engine: Engine | None
) -> Iterator[Encoded | Finished]:
    clip = settings.clip.spec
    contrast = settings.contrast
    if engine is None:
        from models.data.backbone_engines import open_feature_engine

        engine = open_feature_engine(
            settings.engine, clip, settings.backbone, settings.layers, contrast=contrast is not None
        )
    views = mirrored if settings.mirrored else as_it_is
    if settings.crop_from is not None:
        height, width = settings.crop_from
        views = partial(ten_crops, height=clip.height, width=clip.width)
        clip = ClipSpec(clip.frames, clip.stride, height, width, clip.fit, clip.fps)
    scenes = contrast.scenes if contrast is not None else None
    return extract(videos, clip, engine, views=views, scenes=scenes, readers=readers_for(settings.engine))


class _Open(NamedTuple):
    """Features of a video while they are computed."""

    draft: Path
    rows: NpyRows
    places: list[Place]


class _Writer:
    """A writer of features and their index.

    As a context it leaves no unfinished file, and an index of all complete ones.
    """

    def __init__(self, folder: Path, settings: FeatureSettings) -> None:
        self._folder = folder
        self._settings = settings
        present = read_index(folder)
        if present is None and any(folder.glob("*.npy")):
            raise OtherFeatures(f"{folder}: holds .npy files and no {INDEX} that describes them; name another folder")
        if present is not None and (differences := _differences(present.settings, settings)):
            raise OtherFeatures(f"{folder}: holds features of other settings ({differences}); name another folder")
        self._entries = {entry.file: entry for entry in present.videos} if present is not None else {}
        self._open: dict[str, _Open] = {}
        self._write_index()
        files.remove_stale_drafts(folder)

    def sound(self, file: str, content: str) -> Entry | None:
        """Return the entry of a video's features; None where they are missing or damaged."""
        entry = self._entries.get(file)
        if entry is None or entry.content != content:
            return None
        try:
            values = np.load(self._folder / file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        shape = (entry.clips, *self._settings.row)
        return entry if values.shape == shape and values.dtype == np.float32 else None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for file in list(self._open):
            self.drop(file)
        self._write_index()

    def add(self, file: str, event: Encoded) -> None:
        current = self._current(file)
        (values,) = event.arrays
        current.rows.add(values if self._settings.crops == 1 else values[None])
        current.places.append(event.place)

    def keep(self, file: str, video: Path, content: str) -> int:
        """Give the features of a complete video their name, and return the number of its clips."""
        current = self._current(file)
        current.rows.close()
        del self._open[file]
        files.sync(current.draft)
        current.draft.replace(self._folder / file)
        places = current.places
        self._entries[file] = Entry(
            file=file,
            path=storable(str(video)),
            content=content,
            clips=len(places),
            segments=[place.segment for place in places],
            starts=[round(place.start, 6) for place in places],
            ends=[round(place.end, 6) for place in places],
        )
        if time.monotonic() > self._written_at + _INDEX_SECONDS:
            self._write_index()
        return len(places)

    def drop(self, file: str) -> None:
        """Remove the features of a video that will not be complete."""
        if (current := self._open.pop(file, None)) is not None:
            with contextlib.suppress(OSError):  # a full disk; the file is removed anyway
                current.rows.close()
            files.remove(current.draft)

    def _current(self, file: str) -> _Open:
        if file not in self._open:
            draft = files.draft_path(self._folder / file)
            self._open[file] = _Open(draft, NpyRows(draft, np.float32, self._settings.row), [])
        return self._open[file]

    def _write_index(self) -> None:
        settings = json.dumps(self._settings.model_dump(mode="json"), indent=2)
        entries = ",\n".join(entry.model_dump_json() for _, entry in sorted(self._entries.items()))  # a line each
        text = (
            f'{{"settings": {settings},\n"settings_sha256": "{self._settings.sha256}",\n"videos": [\n{entries}\n]}}\n'
        )
        files.write_text(self._folder / INDEX, text)
        self._written_at = time.monotonic()


def _differences(there: FeatureSettings, asked: FeatureSettings) -> str:
    """Return the differences, key by key."""
    one, other = _flat(there.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    keys = [key for key in one | other if one.get(key) != other.get(key)]
    return ", ".join(f"{key} is {one.get(key)} there, not {other.get(key)}" for key in keys)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder's only writer; it ends with the process."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(files.locked(folder / ".lock", wait=False))
        except files.LockedError:
            raise OtherFeatures(f"{folder}: another process is writing features there; wait for it to end") from None
        yield
