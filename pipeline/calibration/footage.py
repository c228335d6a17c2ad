"""Normal footage for a calibration: scores of recordings that were replayed alike, each recording once."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from operators.chain import ChainSettings
from operators.zones import Polygons
from pipeline.calibration.search import Budget, NormalScores, require_hours
from pipeline.errors import UsageError
from pipeline.manifests.manifest import ManifestError
from pipeline.runs.folder import RUN_FILE, Clips, Run, RunChain, RunClip, RunModel, RunSettings, VideoRow
from pipeline.runs.recordings import NothingToReplayError, wanted
from pipeline.sources.archive import BY_NAMES, Joining
from pipeline.sources.base import SourceError

#: Number of cameras that an error names.
_NAMED = 5


class Method(NamedTuple):
    """The settings with which a recording was replayed, and the site's camera of it.

    A calibration is valid for one method: one model, one cutting into clips, one set of operators, one camera with its
    ignore zones.
    """

    model: RunModel
    clip: RunClip
    chain: RunChain
    camera: str | None
    ignored: Polygons

    @property
    def settings(self) -> ChainSettings:
        """The operators' settings, with the ratio of the thresholds before any older calibration.

        An older calibration may have raised the close threshold for its own footage.
        """
        settings, share = self.chain.settings, self.chain.own_share
        if share is None:
            return settings
        return replace(settings, alert=replace(settings.alert, close_threshold=settings.alert.open_threshold * share))


class Comparable(Protocol):
    """Other scores for the same calibration, such as labelled ones."""

    def require_like(self, method: Method) -> None:
        """Raise an error unless the scores come from the same model, cut and smoothed alike."""


@dataclass(frozen=True, slots=True)
class Footage:
    """Scores of one model on recordings with the same clips and operators.

    Attributes:
        pieces: their segments' scores.
        left_out: unused recordings, one line each with the reason.
    """

    method: Method
    rows: tuple[VideoRow, ...]
    pieces: list[NormalScores]
    left_out: tuple[str, ...]


class Methods:
    """The methods of the recordings seen so far, each with the name of the first recording that used it."""

    def __init__(self) -> None:
        self._first: dict[Method, str] = {}

    def add(self, settings: RunSettings, rows: Iterable[VideoRow]) -> None:
        """Add the methods of a run's recordings."""
        for row in rows:
            method = Method(
                settings.model,
                settings.clip_of(row),
                settings.chain_of(row),
                row.camera,
                settings.ignored_of(row),
            )
            self._first.setdefault(method, row.name)

    def require_one(self, labelled: Comparable | None = None) -> None:
        """Check that there is at most one method, and that ``labelled`` has the same one.

        Raises:
            UsageError: two recordings were replayed with different methods.
            NoProbabilityError: ``labelled`` has a different method.
        """
        if len(self._first) > 1:
            (first, one), (second, other) = list(self._first.items())[:2]
            raise UsageError(_difference(first, one, second, other))
        if labelled is not None:
            for method in self._first:
                labelled.require_like(method)

    @property
    def only(self) -> Method:
        (method,) = self._first
        return method


def require_one_archive(places: Sequence[Path], cameras: Container[str], joining: Joining = BY_NAMES) -> None:
    """Check that the names of files that will be replayed do not state several cameras, before any of them is scored.

    Args:
        cameras: of the site. Recordings of these are compared by their methods, see :class:`Methods`.

    Raises:
        UsageError: they state several cameras.
    """
    stated: set[str] = set()
    with contextlib.suppress(NothingToReplayError, ManifestError):  # the replay reports these better
        for recording in wanted(
            [place for place in places if not (place / RUN_FILE).is_file()], skipped=[], joining=joining
        ):
            if recording.camera is not None and recording.camera_of(cameras) is None:
                stated.add(recording.camera)
    if len(stated) > 1:
        named = ", ".join(sorted(stated)[:_NAMED]) + ", …" * (len(stated) > _NAMED)
        raise UsageError(
            f"the names of these files state {len(stated)} cameras ({named}), and a budget is for one camera: name "
            "only the folder or the files of one, or choose a camera of a site with --config and --camera"
        )


def check_lengths(places: Sequence[Path], budget: Budget, confidence: float, joining: Joining = BY_NAMES) -> None:
    """Check the length of footage by its headers, before hours are spent on scoring it.

    Raises:
        UnsupportedBudgetError: the budget needs more hours.
    """
    if any((place / RUN_FILE).is_file() for place in places):
        return
    seconds = 0.0
    with contextlib.suppress(NothingToReplayError, ManifestError):  # the replay reports these better
        for recording in wanted(list(places), skipped=[], joining=joining):
            stated: float | None = 0.0
            with contextlib.suppress(SourceError, OSError):
                stated = recording.open().stated_seconds()
            if stated is None:
                return
            seconds += 0.0 if recording.label == 1 else stated
        require_hours(seconds / 3600, budget, confidence=confidence)


def usable_rows(run: Run, camera: str | None) -> Iterator[VideoRow]:
    """Yield the recordings of a run that a calibration can use, before duplicates are removed."""
    return (row for row in run.videos if _reason_to_leave_out(row, camera, {}) is None)


def rows_to_come(
    places: Sequence[Path], settings: RunSettings, camera: str | None, joining: Joining = BY_NAMES
) -> Iterator[VideoRow]:
    """Yield the recordings of a replay that has not begun, as far as a calibration will use them."""
    for recording in wanted(list(places), skipped=[], joining=joining):
        row = recording.row(camera=recording.camera_of(settings.cameras))
        if _unsuitable(row, camera) is None:
            yield row


def normal_footage(runs: Sequence[Run], camera: str | None) -> Footage:
    """Collect the normal recordings of all runs, each once.

    Args:
        camera: take only this camera's recordings; None takes all.

    Raises:
        UsageError: no recording can be used, or two were replayed with different methods.
    """
    rows: dict[str | None, VideoRow] = {}  # by content: counting the same hours twice would promise too much
    names: set[str] = set()
    pieces: list[NormalScores] = []
    left_out: list[str] = []
    methods = Methods()
    for run in runs:
        for row in run.videos:
            if (reason := _reason_to_leave_out(row, camera, rows)) is not None:
                left_out.append(f"{row.name}: {reason}")
                continue
            methods.add(run.settings, [row])
            name = row.name if row.name not in names else f"{run.folder}/{row.name}"
            names.add(name)
            rows[row.content_hash] = row.model_copy(update={"name": name})
            pieces += _pieces(run.clips[row.name], name)
    if not rows:
        first = f"; {left_out[0]}" if left_out else ""
        raise UsageError(f"none of {len(left_out)} recordings can be calibrated on{first}")
    methods.require_one()
    return Footage(methods.only, tuple(rows.values()), pieces, tuple(left_out))


def _difference(first: Method, one: str, second: Method, other: str) -> str:
    differences = {
        "models": first.model != second.model,
        "clips": first.clip != second.clip,
        "operators' settings": first.chain != second.chain,
        "ignore zones": first.camera == second.camera and first.ignored != second.ignored,
    }
    different = " and ".join(words for words, differ in differences.items() if differ)
    if different:
        return (
            f"{one} and {other} were replayed with different {different}: replay them alike, or calibrate them one by "
            "one (--camera selects the recordings of one camera)"
        )
    return (
        f"{one} belongs to {_camera(first)}, {other} to {_camera(second)}: a budget is for one camera, and a quiet one "
        "would hide a noisy one; --camera selects the recordings of one camera"
    )


def _camera(method: Method) -> str:
    return "no camera of the site" if method.camera is None else f"camera {method.camera}"


def _unsuitable(row: VideoRow, camera: str | None) -> str | None:
    """Return why a recording is left out, independent of its scores, or None."""
    if camera is not None and row.camera != camera:
        return f"not of camera {camera}"
    return "abnormal, as its manifest says" if row.label == 1 else None


def _reason_to_leave_out(row: VideoRow, camera: str | None, taken: Mapping[str | None, VideoRow]) -> str | None:
    if (reason := _unsuitable(row, camera)) is not None:
        return reason
    if row.error is not None:
        return row.error
    if not row.clips:
        return f"shorter than one clip ({row.frames} frames)"
    if row.content_hash in taken:
        return f"the same recording as {taken[row.content_hash].name}"
    return None


def _pieces(clips: Clips, recording: str) -> list[NormalScores]:
    """Return the scores of a recording by segment."""
    segments = np.array(clips.segment)
    changes = np.flatnonzero(segments[1:] != segments[:-1]) + 1
    return [
        NormalScores(
            recording,
            clips.index[part].astype(np.int64),
            clips.start[part],
            clips.end[part],
            clips.score[part].astype(np.float64),
            clips.gated[part],
        )
        for part in np.split(np.arange(len(clips)), changes)
    ]
