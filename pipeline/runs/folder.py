"""The run folder: what a replay leaves behind, and what every judgement of it reads.

=================== =====================================================================================
``run.json``        which model, which clips, which operators' settings: :class:`RunSettings`
``videos.jsonl``    a row a recording, in the order given: :class:`VideoRow`
``scores.parquet``  a row a clip, recording by recording, in order: :data:`SCORE_COLUMNS`
``alerts.jsonl``    the events (alerts and drift), recording by recording, in order, as a live camera's would be
``attention/``      KEY.npy a recording, float32 (clips, h, w), where the model has heat maps
=================== =====================================================================================

All but ``run.json`` are the same bytes for the same recordings, model and settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from operators.alerting import AlertSettings
from operators.background import SceneKind
from operators.chain import ChainSettings
from operators.gate import GateSettings
from operators.heat_kind import HeatKind
from operators.zones import Polygons
from pipeline.errors import UsageError
from pipeline.windows import StoredClip

if TYPE_CHECKING:
    import pyarrow

RUN_FILE = "run.json"
VIDEOS_FILE = "videos.jsonl"
SCORES_FILE = "scores.parquet"
ALERTS_FILE = "alerts.jsonl"
ATTENTION_FOLDER = "attention"
ALERT_TYPES = "mistwatch.alert."  #: the types of alert events begin so
PARTS_FOLDER = "parts"  #: of a run that is not finished, see :mod:`pipeline.runs.parts`

#: Columns of ``scores.parquet``. ``start`` and ``end`` are seconds of the recording's clock; ``first_frame`` and
#: ``end_frame``, half open, are the recording's frames, counted from 0, that the clip's time span covers; those that
#: could not be decoded count (:class:`pipeline.sources.lost_pictures.LostPictures`);
#: ``smoothed`` is the causal average that runs live. A clip that the server could not score has no row. A ``gated``
#: clip was not sent: its score, and its heat map, are those of the last clip that was. Folders of before the gate lack
#: that column.
SCORE_COLUMNS = (
    ("video", "string"),
    ("segment", "string"),
    ("index", "int32"),
    ("start", "float64"),
    ("end", "float64"),
    ("first_frame", "int64"),
    ("end_frame", "int64"),
    ("score", "float32"),
    ("smoothed", "float32"),
    ("model", "string"),
    ("model_version", "string"),
    ("gated", "bool"),
)


class RunError(UsageError):
    """A run folder cannot be read. One line that names the file and what was expected."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may write more


class RunModel(_Part):
    """The model that scored, as its server described it.

    Attributes:
        threshold, close_threshold, kernel: its own suggestions, None where it makes none.
        weights_sha256: of its weights, None where the server does not state it.
        heat: the meaning of its heat maps, where it has any; not written where they are attention maps.
        scene: the standing scene that it reads; not written where it reads none.
    """

    name: str
    version: str
    backbone: str | None = None
    weights_sha256: str | None = None
    threshold: float | None = None
    close_threshold: float | None = None
    kernel: int | None = None
    heat: HeatKind = HeatKind.ATTENTION
    scene: SceneKind | None = None

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the usual kind of heat map and no scene: a run's name, a hash of all this, stays as it was."""
        written: dict[str, Any] = handler(self)
        if written.get("heat") == HeatKind.ATTENTION:
            del written["heat"]
        if written.get("scene", ...) is None:
            del written["scene"]
        return written


class RunClip(StoredClip):
    """The clips that were cut; here ``fps`` is null for the stream's own rate."""

    fps: float | None


class RunGate(_Part):
    """The motion gate's settings; see :class:`operators.gate.GateSettings`."""

    floor: int
    hangover: int
    learning: int


class RunChain(_Part):
    """The operators' settings; see :class:`operators.chain.ChainSettings`.

    Attributes:
        gate: of the motion gate; None, and not written, where every clip was sent.
        own_share: where the thresholds are a calibration's, which part of the open threshold the close one is without
            it, by the site or the model; else None, and not written.
    """

    kernel: int
    max_hole: int
    open_threshold: float
    close_threshold: float
    min_clips: int
    update_every_seconds: float
    cooldown_seconds: float
    max_duration_seconds: float
    own_share: float | None = None
    gate: RunGate | None = None

    @classmethod
    def from_settings(
        cls, chain: ChainSettings, own_share: float | None = None, gate: GateSettings | None = None
    ) -> RunChain:
        """Return the stored form of ``chain``."""
        alert = {name: getattr(chain.alert, name) for name in AlertSettings.__dataclass_fields__}
        run_gate = None if gate is None else RunGate(**asdict(gate))
        return cls(kernel=chain.kernel, max_hole=chain.max_hole, own_share=own_share, gate=run_gate, **alert)

    @property
    def settings(self) -> ChainSettings:
        """The same for the operators."""
        alert = self.model_dump(exclude={"kernel", "max_hole", "own_share", "gate"})
        return ChainSettings(alert=AlertSettings(**alert), kernel=self.kernel, max_hole=self.max_hole)

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run without calibration or gate has the name that it always had: that is a hash of all this."""
        written: dict[str, Any] = handler(self)
        for name in ("own_share", "gate"):
            if written.get(name, ...) is None:
                del written[name]
        return written


class _RunZone(_Part):
    points: tuple[tuple[float, float], ...]
    ignore: bool = False


_RUN_ZONES = TypeAdapter(dict[str, _RunZone])


def _checked_zones(zones: dict[str, Any]) -> dict[str, Any]:
    _RUN_ZONES.validate_python(zones)
    return zones


class CameraPart(_Part):
    """The settings of one of the site's cameras.

    Attributes:
        zones, schedule: as the site's file has them; not written where it has none.
    """

    clip: RunClip
    chain: RunChain
    zones: Annotated[dict[str, Any], AfterValidator(_checked_zones)] = {}
    schedule: dict[str, Any] = {}

    @property
    def ignored(self) -> Polygons:
        """The corners of its ignore zones, sorted: neither names nor order matter to scores."""
        return tuple(sorted(zone.points for zone in _RUN_ZONES.validate_python(self.zones).values() if zone.ignore))

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out zones that are not there: a run's name, a hash of all this, stays as it was."""
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if value != {}}


class RunSettings(_Part):
    """The settings of a run.

    Attributes:
        run: names the run in its alerts' ids; made of all that follows it here but the counts.
        detector: the site's detector that scored; not written where the site names no detectors.
        start_time: wall-clock time that the first frame of the one recording was said to have.
        cameras: by camera, the settings of recordings that are a camera's of the site (:attr:`VideoRow.camera`).
        created_at: when the run was finished (UTC); the only time of day in a run folder.
    """

    schema_version: Literal[1] = 1
    mistwatch: str
    created_at: AwareDatetime | None = None
    site: str
    run: str
    model: RunModel
    clip: RunClip
    chain: RunChain
    detector: str | None = None
    start_time: AwareDatetime | None = None
    cameras: dict[str, CameraPart] = {}
    recordings: int = 0
    frames: int = 0
    clips: int = 0
    alerts: int = 0

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a detector that is not there: a run's name, a hash of all this, stays as it was."""
        written: dict[str, Any] = handler(self)
        if written.get("detector", ...) is None:
            del written["detector"]
        return written

    def clip_of(self, row: VideoRow) -> RunClip:
        """The clips that were cut of this recording."""
        return self.clip if row.camera is None else self.cameras[row.camera].clip

    def chain_of(self, row: VideoRow) -> RunChain:
        """The operators' settings that this recording was judged by."""
        return self.chain if row.camera is None else self.cameras[row.camera].chain

    def ignored_of(self, row: VideoRow) -> Polygons:
        """The corners of the ignore zones of this recording."""
        return () if row.camera is None else self.cameras[row.camera].ignored


class RowFile(_Part):
    """One file of a camera's archive.

    Attributes:
        path: where it lay, absolute.
        at: time of its first picture as its name states it; None where it does not.
    """

    path: str
    at: AwareDatetime | None = None


class RowGap(_Part):
    """A gap between two files of a camera's archive.

    Attributes:
        after: wall-clock time at which the gap or the overlap begins; None where it is not known.
        seconds: its length; below 0 the files overlap, None: not known.
    """

    after: AwareDatetime | None = None
    seconds: float | None = None


class VideoRow(_Part):
    """One recording of a run.

    Attributes:
        name: unique in the run: a file's stem, or its path in the manifest; the ``camera`` of its alerts.
        path: where it lay, absolute.
        content_hash: 16 hexadecimal digits, see :attr:`pipeline.sources.recordings.Recording.content_hash`; None where
            it could not be read.
        label, group, split, intervals: as the manifest says; ``label`` None without a manifest. ``intervals`` are of
            abnormal frames, half open, counted from 0.
        camera: whose settings of the site it was judged by; None: the site's own.
        frames: decoded, whatever became of them, and those that could not be.
        fps: frames a second, of all its segments; None where it has not two frames. Of a folder of pictures, as given.
        duration_seconds: of all its segments together.
        started_at: wall-clock time of the first frame, None where it is not known.
        segments: unbroken stretches, see :class:`pipeline.sources.base.Segment`.
        damage: one line on what could not be decoded; the rest was scored.
        error: one line on why nothing of it was scored, or not every clip of it, and nothing kept; else None.
        files: of a camera's archive, in the order in which they were recorded, ``path`` the first of them; empty, and
            not written, for a recording of one file.
        gaps: between these files; not written where there are none.
        sparse: one line on frames too far from each other for a clip; not written where there are none.
        stream: number of the video stream that was read, if not the first; see ``mistwatch replay --stream``.
        masks: of its abnormal pixels, absolute, as the manifest says (:mod:`pipeline.manifests.masks`); not written
            where the manifest names none.
        gated: how many of the clips were not sent, because nothing moves in them; not written where none was.
    """

    name: str
    path: str
    content_hash: str | None = None
    label: Literal[0, 1] | None = None
    group: str | None = None
    split: str | None = None
    intervals: tuple[tuple[int, int], ...] = ()
    camera: str | None = None
    frames: Annotated[int, Field(ge=0)] = 0
    fps: float | None = None
    duration_seconds: float = 0.0
    started_at: AwareDatetime | None = None
    segments: int = 0
    clips: int = 0
    damage: str | None = None
    error: str | None = None
    files: tuple[RowFile, ...] = ()
    sparse: str | None = None
    stream: Annotated[int, Field(ge=0)] | None = None
    gaps: tuple[RowGap, ...] = ()
    masks: str | None = None
    gated: Annotated[int, Field(ge=0)] = 0

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what few recordings have."""
        written: dict[str, Any] = handler(self)
        rare = ("files", "gaps", "sparse", "stream", "masks", "gated")
        return {name: value for name, value in written.items() if value or name not in rare}

    @property
    def key(self) -> str:
        """Names what is kept of it in a folder, whatever characters are in its name."""
        return key_of(self.name)


def key_of(name: str) -> str:
    """16 hexadecimal digits that stand for a recording's name where a file's name is needed."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Clips:
    """The scored clips of one recording, in order; all arrays (n,).

    Attributes:
        index: its ordinal there, int32.
        start, end: seconds of the recording's clock, float64.
        first_frame, end_frame: the frames that it covers, half open, counted from 0, int64.
        score: as the model gave it, float32 in [0, 1].
        smoothed: the causal average that ends with it, as live, float32.
        gated: it was not sent, and its score is held, bool.
    """

    segment: tuple[str, ...]
    index: npt.NDArray[np.int32]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    first_frame: npt.NDArray[np.int64]
    end_frame: npt.NDArray[np.int64]
    score: npt.NDArray[np.float32]
    smoothed: npt.NDArray[np.float32]
    gated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.segment)


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """One alert of a run, from its events. Seconds of the recording's clock.

    Attributes:
        segment: that it lies in.
        started: of its first clip.
        opened: end of the clip with which it opened: before that it was not known.
        peak_start, peak_end: of the clip with the highest smoothed score.
        threshold: smoothed score at which it opened.
    """

    alert_id: str
    segment: str
    started: float
    opened: float
    ended: float
    end_reason: str
    peak: float
    peak_start: float
    peak_end: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        videos: a row a recording, in the order given, those with an ``error`` among them.
        clips, alerts: by the recording's name; every recording has an entry, if an empty one.
    """

    folder: Path
    settings: RunSettings
    videos: tuple[VideoRow, ...]
    clips: Mapping[str, Clips]
    alerts: Mapping[str, tuple[AlertSpan, ...]]

    def attention(self, row: VideoRow) -> npt.NDArray[np.float32] | None:
        """Return the heat maps of a recording, (clips, h, w) in [0, 1]; None where none were kept.

        Raises:
            RunError: it cannot be read.
        """
        file = self.folder / ATTENTION_FOLDER / f"{row.key}.npy"
        try:
            maps: npt.NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from None
        if maps.ndim != 3 or len(maps) != row.clips:
            raise RunError(f"{file}: expected {row.clips} maps, got {maps.shape}")
        return maps


def read_run(folder: Path) -> Run:
    """Read a run folder. Raises RunError: it is none, is not finished, or does not agree with itself."""
    settings = read_settings(folder / RUN_FILE)
    videos = tuple(read_rows(folder / VIDEOS_FILE))
    table = read_scores(folder / SCORES_FILE)
    clips = {row.name: _NO_CLIPS for row in videos} | dict(_by_video(table))
    alerts: dict[str, list[AlertSpan]] = {row.name: [] for row in videos}
    for name, span in alert_spans(folder / ALERTS_FILE):
        if name not in alerts:
            raise RunError(f"{folder / ALERTS_FILE}: an alert of {name!r}, which {VIDEOS_FILE} does not name")
        alerts[name].append(span)
    for row in videos:
        if len(clips[row.name]) != row.clips:
            raise RunError(
                f"{folder}: {row.name} has {row.clips} clips in {VIDEOS_FILE} and {len(clips[row.name])} in "
                f"{SCORES_FILE}: replay it again"
            )
    if len(clips) != len(videos):
        raise RunError(f"{folder}: {SCORES_FILE} and {VIDEOS_FILE} are not of the same recordings: replay it again")
    return Run(
        folder,
        settings,
        videos,
        MappingProxyType(clips),
        MappingProxyType({name: tuple(spans) for name, spans in alerts.items()}),
    )


def read_settings(file: Path) -> RunSettings:
    """Read ``run.json``. Raises RunError."""
    if not file.parent.is_dir():
        raise RunError(f"{file.parent}: no such folder; expected one that `mistwatch replay --out` wrote")
    try:
        return RunSettings.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        unfinished = (file.parent / PARTS_FOLDER).is_dir()
        what = "the run is not finished; the same `mistwatch replay` goes on" if unfinished else "no run of a replay"
        raise RunError(f"{file.parent}: {what} (no {file.name})") from None
    except (OSError, ValidationError) as error:
        raise RunError(f"{file}: {_reason(error)}") from None


def read_rows(file: Path) -> Iterator[VideoRow]:
    """Read ``videos.jsonl``. Raises RunError."""
    for number, line in enumerate(_lines(file), start=1):
        try:
            yield VideoRow.model_validate_json(line)
        except ValidationError as error:
            raise RunError(f"{file}:{number}: {_reason(error)}") from None


def read_scores(file: Path) -> pyarrow.Table:
    """Read ``scores.parquet``, all columns as they were written. Raises RunError."""
    import pyarrow
    from pyarrow import parquet

    try:
        with file.open("rb") as table:  # opened here, as pyarrow takes only paths that are UTF-8
            columns = [name for name, _ in SCORE_COLUMNS if name != "gated"]
            columns += ["gated"] * ("gated" in parquet.read_schema(table).names)
            table.seek(0)
            # On this thread alone: on a busy machine, threads that still ended with the process made it abort (134).
            read = parquet.read_table(table, columns=columns, use_threads=False, pre_buffer=False)
            if "gated" not in columns:
                read = read.append_column("gated", pyarrow.array(np.zeros(len(read), np.bool_)))
            return read.cast(score_schema())
    except FileNotFoundError:
        raise RunError(f"{file.parent}: no {file.name} there; expected a run of `mistwatch replay`") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise RunError(f"{file}: no table of scores: {' '.join(str(error).split())}") from None


def score_schema() -> pyarrow.Schema:
    """Return the schema of ``scores.parquet``; no value is ever null."""
    import pyarrow

    return pyarrow.schema([pyarrow.field(name, kind, nullable=False) for name, kind in SCORE_COLUMNS])


def alert_spans(file: Path) -> Iterator[tuple[str, AlertSpan]]:
    """The alerts of ``alerts.jsonl`` with the recording's name, in the order in which they end. Raises RunError."""
    opened: dict[str, float] = {}
    for number, line in enumerate(_lines(file), start=1):
        try:
            document = json.loads(line)
            if not document.get("type", ALERT_TYPES).startswith(ALERT_TYPES):  # drift, or of a later version
                continue
            data = document["data"]
            identity = data["alert_id"]
            if data["state"] == "begin":
                opened[identity] = float(data["scores"][-1]["ended_pts_seconds"])
            if data["state"] == "end":
                peak = data["peak"]
                span = AlertSpan(
                    alert_id=identity,
                    segment=data["segment"],
                    started=float(data["started_pts_seconds"]),
                    opened=opened.pop(identity),
                    ended=float(data["ended_pts_seconds"]),
                    end_reason=data["end_reason"],
                    peak=float(peak["smoothed_score"]),
                    peak_start=float(peak["started_pts_seconds"]),
                    peak_end=float(peak["ended_pts_seconds"]),
                    threshold=float(data["threshold"]),
                )
                yield data["camera"], span
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise RunError(f"{file}:{number}: no alert event of a replay ({type(error).__name__}: {error})") from None
    if opened:
        raise RunError(f"{file}: the alert {next(iter(opened))} never ends: replay it again")


_NO_CLIPS = Clips(
    segment=(),
    index=np.empty(0, np.int32),
    start=np.empty(0),
    end=np.empty(0),
    first_frame=np.empty(0, np.int64),
    end_frame=np.empty(0, np.int64),
    score=np.empty(0, np.float32),
    smoothed=np.empty(0, np.float32),
    gated=np.empty(0, np.bool_),
)


def _by_video(table: pyarrow.Table) -> Iterator[tuple[str, Clips]]:
    """The clips of each recording; a recording's rows stand together."""
    names = table["video"].to_pylist()
    begins = [place for place, name in enumerate(names) if not place or names[place - 1] != name]
    seen: set[str] = set()
    for first, end in zip(begins, [*begins[1:], len(names)], strict=True):
        if names[first] in seen:
            raise RunError(f"{SCORES_FILE}: the clips of {names[first]} do not stand together: replay it again")
        seen.add(names[first])
        part = table.slice(first, end - first)
        numbers: dict[str, Any] = {name: part[name].to_numpy() for name, kind in SCORE_COLUMNS if kind != "string"}
        yield names[first], Clips(segment=tuple(part["segment"].to_pylist()), **numbers)


def _lines(file: Path) -> Iterable[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{file.parent}: no {file.name} there; expected a run of `mistwatch replay`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: {_reason(error)}") from None
    return [line for line in text.split("\n") if line]  # nowhere else: U+2028 may stand in a name


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def abnormal_intervals(row: VideoRow, frames: int) -> list[tuple[int, int]]:
    """Return the abnormal intervals of a recording, cut to the ``frames`` that were scored.

    Raises:
        RunError: the manifest names frames beyond the end of a complete recording.
    """
    for first, end in row.intervals:
        if end > row.frames and row.damage is None:
            raise RunError(
                f"{row.name}: its manifest says frames [{first}, {end}) are abnormal, and {row.frames} were decoded: "
                "is the annotation of another copy of it?"
            )
    return [(first, min(end, frames)) for first, end in row.intervals if first < frames]
