"""The motion gate at work in the worker: clips that are not sent, and the alerts of the others, live as in a replay."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from grey_cameras import Kept

from operators.gate import GateSettings
from operators.heat_kind import HeatKind
from operators.scores import GatedClip, SmoothedScore
from operators.zones import Zone
from pipeline.alerts.zoning import CameraZones
from pipeline.live.board import Board
from pipeline.live.camera import Camera, CameraPlan, DetectorPlan, Watcher
from pipeline.live.judging import chain_settings, gate_settings
from pipeline.live.listener import Listeners, Watch, WorkerListener
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.worker import Worker
from pipeline.scoring.outcomes import Dropped, Gated, Scored
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import HeatMap, ServedModel
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure
from pipeline.settings import AlertTuning, GateMode, GateTuning
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, Source
from pipeline.sources.decode import FramePump, received
from pipeline.windows import ClipSpec, ClipWindow

T, SIDE, FPS = 4, 64, 10
CLIP = ClipSpec(frames=T, stride=T, height=SIDE, width=SIDE)
SERVED = ServedModel("bright", "1", CLIP, threshold=0.5, kernel=3, may_be_gated=True)
GATE = GateSettings(floor=8, hangover=6, learning=10)
#: Clips: the yard, a walk, and from there on a person who lies still.
CLIPS, WALKS, LIES = 90, 20, 25


def pictures() -> Iterator[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    yard = np.kron(rng.uniform(60, 160, (8, 8)), np.ones((8, 8)))
    for number in range(CLIPS * T):
        picture = yard + rng.normal(0, 1.5, yard.shape)
        if number >= WALKS * T:
            at = min(number - WALKS * T, (LIES - WALKS) * T)
            picture[30:46, 2 + 2 * at : 14 + 2 * at] = 250
        yield np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


class Yard:
    """A camera or a recording of the yard."""

    camera = "yard"

    def __init__(self, *, live: bool) -> None:
        self.live = live

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        pump = FramePump(
            self.camera,
            live=self.live,
            specs=specs,
            segment_id=lambda ordinal: f"yard/{ordinal}",
            wall_clock=received,
        )
        for number, pixels in enumerate(pictures()):
            if stop.is_set():
                break
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            yield from pump.push(picture, number / FPS)
        yield from pump.end(EndReason.STREAM_END)


class Brightness:
    """A server whose score is high where something bright lies in the picture. Answers come in a random order."""

    def __init__(self, served: ServedModel, seed: int) -> None:
        self._served = served
        self._rng = random.Random(seed)
        self.clips = 0

    def is_live(self, *, timeout_seconds: float) -> None: ...

    def describe(self, target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        return self._served

    def infer(
        self, target: Target, pixels: Any, *, on_answer: Callable[[Answer | Failure], None], **_asked: Any
    ) -> None:
        self.clips += 1
        bright = float((pixels[:, :, :, 1] > 230).mean())
        answer = Answer("1", min(1.0, 20 * bright))
        threading.Timer(self._rng.uniform(0, 0.02), on_answer, [answer]).start()

    def load(self, model: str) -> None: ...

    def unload(self, model: str) -> None: ...

    def close(self) -> None: ...


class Course(WorkerListener):
    """Keeps what became of each clip."""

    def __init__(self) -> None:
        self.outcomes: dict[int, str] = {}
        self.smoothed_scores: list[tuple[int, float, bool]] = []

    def scored(self, watch: Watch, scored: Scored) -> None:
        self.outcomes[scored.window.index] = "scored"

    def gated(self, watch: Watch, gated: Gated) -> None:
        self.outcomes[gated.clip.index] = "gated"

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self.outcomes[dropped.window.index] = "dropped"

    def smoothed(self, watch: Watch, score: SmoothedScore) -> None:
        self.smoothed_scores.append((score.clip.index, score.value, score.clip.gated))


class Watching:
    """A worker that has watched the yard to its end."""

    def __init__(
        self,
        *,
        live: bool = False,
        seed: int = 0,
        gate: GateSettings | None = GATE,
        served: ServedModel = SERVED,
        zones: CameraZones | None = None,
    ) -> None:
        self.server, self.course, self.board, self.kept = Brightness(served, seed), Course(), Board(), Kept()
        self.metrics = Metrics()
        source: Source = Yard(live=live)
        scorer = Scorer("scripted:1", [ScoredModel("bright", CLIP)], connect=lambda: self.server)
        worker = Worker(
            [],
            site="test",
            run="r",
            scorer=scorer,
            queue_clips=CLIPS,
            outbox=self.kept,  # type: ignore[arg-type]
            notify=lambda: None,
            pictures=None,
            listeners=[self.course, self.board, MetricsListener(self.metrics)],
        )
        worker.start()

        def chain(model: ServedModel) -> Any:
            return chain_settings(AlertTuning(max_hole=CLIPS), model, max_in_flight=4)

        plan = DetectorPlan(CLIP, served, chain, model="bright", gate=lambda _served: gate)
        worker.add(CameraPlan("yard", lambda _callbacks: source, [plan], zones or CameraZones()))
        try:
            assert worker.wait(60)
        finally:
            worker.stop()

    @property
    def gated(self) -> set[int]:
        return {index for index, outcome in self.course.outcomes.items() if outcome == "gated"}

    @property
    def story(self) -> list[tuple[Any, ...]]:
        return [
            (one.data.state, one.data.started_pts_seconds, one.data.ended_pts_seconds, one.data.end_reason)
            for one in self.kept.events
        ]


@pytest.fixture(scope="module")
def watched() -> Watching:
    return Watching()


def test_clips_in_which_nothing_moves_are_not_sent(watched: Watching) -> None:
    assert sorted(watched.course.outcomes) == [*range(CLIPS)]
    assert len(watched.gated) > CLIPS / 3
    assert watched.server.clips == CLIPS - len(watched.gated)
    assert watched.gated.isdisjoint(range(GATE.learning)), "the noise is learned"
    assert watched.gated.isdisjoint(range(WALKS, LIES + GATE.hangover)), "a person walks"
    state = watched.board.states[0]
    assert (state.scored, state.gated, state.dropped) == (watched.server.clips, len(watched.gated), 0)
    counted = watched.metrics.registry.get_sample_value("mistwatch_clips_gated_total", {"camera": "yard"})
    assert counted == len(watched.gated)


def test_somebody_who_lies_still_stays_in_alert_to_the_end(watched: Watching) -> None:
    assert len([index for index in watched.gated if index > LIES]) > CLIPS / 3
    states = [state for state, *_ in watched.story]
    assert (states[0], states[-1]) == ("begin", "end")
    assert set(states[1:-1]) <= {"update"}
    assert watched.story[-1][-1] == "stream_end"
    assert watched.story[-1][2] == pytest.approx(CLIPS * T / FPS)


def test_the_alert_is_that_of_the_ungated_run(watched: Watching) -> None:
    ungated = Watching(gate=None)
    assert not ungated.gated
    assert ungated.story[0] == watched.story[0]
    assert ungated.story[-1] == watched.story[-1]


@pytest.mark.parametrize("live", [True, False])
def test_a_live_camera_is_gated_as_its_recording_is(watched: Watching, live: bool) -> None:
    """Whatever the order of the answers."""
    other = Watching(live=live, seed=7)
    assert other.gated == watched.gated
    assert other.course.smoothed_scores == watched.course.smoothed_scores
    assert other.story == watched.story


def test_a_model_that_does_not_allow_it_gets_every_clip() -> None:
    assert not Watching(served=replace(SERVED, may_be_gated=False)).gated


class Sent:
    """The clips that a watcher has handed in, in place of its queue."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def submit(self, window: ClipWindow) -> None:
        self.indices.append(window.index)


def test_the_gate_goes_on_while_a_version_forbids_it_and_follows_the_version_that_is_served(watched: Watching) -> None:
    """Versions 2 (not gated) and 3 (with a longer hangover) score in turn; what the gate knows stays."""
    forbids, calmer = replace(SERVED, version="2", may_be_gated=False), replace(SERVED, version="3")
    longer = replace(GATE, hangover=GATE.hangover + 5)
    nothing: Any = None  # its operators are not at work here
    plan = DetectorPlan(CLIP, SERVED, nothing, gate=lambda one: longer if one is calmer else GATE)
    watcher, sent, gated = Watcher(Watch("yard", ""), plan, nothing, nothing), Sent(), list[int]()
    watcher.port = sent  # type: ignore[assignment]
    watcher.put_gated = lambda one: gated.append(one.clip.index)
    for item in Yard(live=False).frames([CLIP.frame_spec], threading.Event()):
        if isinstance(item, Frame):
            watcher.served = forbids if watcher.clips < 15 else SERVED if watcher.clips < LIES else calmer
        watcher.take(item)
    assert sorted([*gated, *sent.indices]) == [*range(CLIPS)]
    before = sorted(one for one in watched.gated if 15 <= one < LIES)
    assert before
    assert [one for one in gated if one < LIES] == before
    assert min(one for one in gated if one > LIES) == min(one for one in watched.gated if one > LIES) + 5


def test_a_camera_that_is_stopped_does_not_wait_for_operators_that_hang() -> None:
    """Here they have not started, so the results have no room."""
    server = Brightness(SERVED, 0)
    scorer = Scorer("scripted:1", [ScoredModel("bright", CLIP)], connect=lambda: server)
    worker = Worker(
        [],
        site="test",
        run="r",
        scorer=scorer,
        queue_clips=CLIPS,
        outbox=Kept(),  # type: ignore[arg-type]
        notify=lambda: None,
        pictures=None,
        listeners=[],
    )
    plan = DetectorPlan(CLIP, SERVED, lambda model: chain_settings(AlertTuning(max_hole=CLIPS), model, max_in_flight=4))
    camera = Camera(CameraPlan("yard", lambda _callbacks: Yard(live=True), [plan]), Listeners(()), lambda *_: None)
    watcher = worker._watcher(camera, plan, None)
    while not worker._results.full():
        watcher.put_gated(Gated(GatedClip("yard", "s", 0, 0.0, 1.0)))
    waiting = threading.Thread(
        target=watcher.put_gated, args=(Gated(GatedClip("yard", "s", 1, 1.0, 2.0)),), daemon=True
    )
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    camera.stop.set()
    waiting.join(10)
    assert not waiting.is_alive()
    worker.stop()


@pytest.mark.parametrize(
    "served",
    [
        pytest.param(SERVED, id="pixels replaced"),
        pytest.param(replace(SERVED, heat=HeatMap(4, 4, HeatKind.ANOMALY), takes_mask=True), id="mask"),
    ],
)
def test_movement_in_an_ignore_zone_does_not_count(served: ServedModel) -> None:
    """A model that takes a mask gets the pixels as they are, so that the gate itself must leave the zone out."""
    whole = Zone("street", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), ignore=True)
    gated = Watching(served=served, zones=CameraZones((whole,))).gated
    assert gated & set(range(WALKS, LIES))


def test_a_site_may_switch_it_off_and_choose_the_floor() -> None:
    chain = chain_settings(AlertTuning(kernel=20), SERVED, max_in_flight=1)
    assert gate_settings(GateTuning(mode=GateMode.OFF), chain) is None
    gate = gate_settings(GateTuning(floor=40), chain)
    assert gate is not None
    assert gate.floor == 40
    assert gate.hangover > 20, "real scores fill the average before it is held"


def test_a_movement_of_which_no_clip_is_scored_is_a_long_hole() -> None:
    chain = chain_settings(AlertTuning(kernel=1, max_hole=30), SERVED, max_in_flight=1)
    gate = gate_settings(GateTuning(), chain)
    assert gate is not None
    assert gate.hangover > chain.max_hole
