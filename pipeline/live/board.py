"""The state of each camera, for people: a line for each camera and detector, kept up to date by the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from operators.chain import ChainSettings
from operators.scores import SmoothedScore
from pipeline.alerts.event import AlertEvent
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.supervision import Condition, State
from pipeline.scoring.outcomes import Dropped, DropReason, Gated, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.base import Frame


@dataclass(slots=True)
class CameraState:
    """One camera as one detector sees it: a line of the live table.

    Each field has one writer; a reader may see values of different moments. A camera with several detectors has one
    state for each, in which what concerns the camera (``condition`` to ``last_frame_at``) is the same.
    """

    camera: str
    live: bool
    condition: Condition = field(default_factory=lambda: Condition(State.CONNECTING, datetime.now(UTC)))
    ever_connected: bool = False
    frames: int = 0
    position_seconds: float = 0.0  #: PTS of the latest frame
    last_frame_at: datetime | None = None  #: when the latest frame was received (UTC)
    scored: int = 0
    dropped: int = 0
    gated: int = 0  #: clips not sent, because nothing moved in them
    dropped_by: Counter[str] = field(default_factory=Counter)  #: of the dropped clips, number by reason
    lost: int = 0  #: of the dropped clips, those that the server refused or failed on
    no_clips_because: str = ""  #: why not one clip could be cut from a recording
    lost_because: str = ""  #: the cause of the first of them
    score: float | None = None
    smoothed: float | None = None
    open_threshold: float = 0.0
    alerts: int = 0
    open_alert: UUID | None = None  #: its id
    model: str = ""  #: name and version of the model that scores, with a slash
    detector: str = ""  #: empty at a site that names no detectors

    @property
    def alert_open(self) -> bool:
        return self.open_alert is not None

    @property
    def is_done(self) -> bool:
        """Return whether a recording has been scored to its end, or the camera was stopped."""
        return self.condition.state is State.STOPPED

    @property
    def shown(self) -> str:
        """The state of the camera for people."""
        return "done" if self.is_done and not self.live else self.condition.state.words

    @property
    def message(self) -> str:
        """The reason of the state in one line; empty while frames come."""
        return self.condition.message

    @property
    def name(self) -> str:
        """The camera and its detector, for people: ``gate`` or ``gate/fights``."""
        return f"{self.camera}/{self.detector}" if self.detector else self.camera


class Board(WorkerListener):
    """Keeps a :class:`CameraState` for each camera and detector, from the worker's calls."""

    def __init__(self) -> None:
        self._states: dict[Watch, CameraState] = {}
        self._cameras: dict[str, list[CameraState]] = {}

    @property
    def states(self) -> list[CameraState]:
        """One for each camera and detector, in the order in which the cameras were added; read only."""
        return [state for states in list(self._cameras.values()) for state in states]

    def camera_added(self, camera: str, watches: Sequence[Watch], *, live: bool) -> None:
        states = {
            watch: self._states.get(watch) or CameraState(camera, live, detector=watch.detector) for watch in watches
        }
        for state in states.values():
            state.condition = Condition(State.CONNECTING, datetime.now(UTC))  # also where it is opened again
        self._states |= states
        self._cameras[camera] = list(states.values())

    def condition_changed(self, camera: str, condition: Condition) -> None:
        for state in self._cameras.get(camera, ()):  # none where a stalled camera is removed meanwhile
            state.condition = condition
            state.ever_connected = state.ever_connected or condition.state is State.STREAMING

    def frame(self, camera: str, frame: Frame) -> None:
        for state in self._cameras[camera]:
            state.frames += 1
            state.position_seconds = frame.pts_seconds
            state.last_frame_at = frame.received_at

    def without_clips(self, watch: Watch, why: str) -> None:
        self._states[watch].no_clips_because = why

    def judged(self, watch: Watch, served: ServedModel, settings: ChainSettings) -> None:
        state = self._states[watch]
        state.open_threshold = settings.alert.open_threshold
        state.model = f"{served.name}/{served.version}"

    def scored(self, watch: Watch, scored: Scored) -> None:
        state = self._states[watch]
        state.scored += 1
        state.score = scored.score

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        self._states[watch].smoothed = score.value

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        state = self._states[watch]
        state.dropped += 1
        state.dropped_by[dropped.reason] += 1
        if dropped.reason is DropReason.ERROR:
            state.lost_because = state.lost_because or dropped.detail
            state.lost += 1

    def gated(self, watch: Watch, gated: Gated) -> None:
        self._states[watch].gated += 1

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        state = self._states[watch]
        state.alerts += event.data.sequence == 0
        state.open_alert = None if event.data.state == "end" else event.data.alert_id

    def camera_removed(self, camera: str) -> None:
        for state in self._cameras.pop(camera):
            del self._states[Watch(camera, state.detector)]
