"""A worker of one shared camera in a process of its own, without a server of models, so that it can be killed.

The picture is bright or dark by the wall clock, the same in every process: all of them watch one scene. A clip's score
is its brightness. Events stay in the process's outbox, where a test reads them.

    python shared_camera.py BOOTSTRAP STATE_DIR

It prints ``ready``, waits for a line on its standard input, claims the camera and prints a line of JSON for its claim
and for each event. A second line on the standard input, or SIGTERM, hands the camera over and ends it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from pipeline.alerts.outbox import Outbox
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.ownership import Ownership
from pipeline.live.score_states import ScoreStates
from pipeline.live.worker import Worker
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.scoring.served_model import ServedModel
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver
from pipeline.sources.decode import FramePump, received
from pipeline.windows import ClipSpec, ClipWindow

CAMERA = "gate"
TOPIC = "scores"
#: Seconds of wall clock that the scene is bright, then dark.
BRIGHT_SECONDS, DARK_SECONDS = 6.0, 4.0
FPS = 20.0
CLIP = ClipSpec(frames=2, stride=2, height=8, width=8)
SERVED = ServedModel("stub", "1", CLIP, threshold=0.5, kernel=2)
SETTINGS = ChainSettings(
    alert=AlertSettings(
        open_threshold=0.5,
        close_threshold=0.4,
        min_clips=3,
        update_every_seconds=1.0,
        cooldown_seconds=0.0,
        max_duration_seconds=600.0,
    ),
    kernel=2,
)


class Scene:
    """A live camera; see above."""

    live = True
    camera = CAMERA

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        connection = uuid.uuid4().hex
        pump = FramePump(
            CAMERA,
            live=True,
            specs=specs,
            segment_id=lambda ordinal: f"{CAMERA}/{connection}/{ordinal}",
            wall_clock=received,
        )
        began, number = time.monotonic(), 0
        while not stop.wait(max(0.0, began + number / FPS - time.monotonic())):
            grey = 230 if time.time() % (BRIGHT_SECONDS + DARK_SECONDS) < BRIGHT_SECONDS else 10
            picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), grey, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 1000)
            yield from pump.push(picture, number / FPS)
            number += 1
        yield from pump.end(EndReason.SHUTDOWN)


class Port:
    """Scores each clip at once."""

    def __init__(self, deliver: Callable[[Scored | Dropped], None]) -> None:
        self._deliver = deliver

    def submit(self, window: ClipWindow) -> None:
        self._deliver(Scored(window, float(window.pixels.mean()) / 255, SERVED, datetime.now(UTC)))

    def drain(self, timeout: float | None = None) -> bool:
        return True

    def close(self, timeout: float = 5.0) -> None:
        pass


class Stub:
    """In place of the scorer."""

    def add_camera(self, camera: str, *, deliver: Callable[[Scored | Dropped], None], **_options: Any) -> Port:
        return Port(deliver)

    def close(self, timeout: float = 5.0) -> None:
        pass


class SharedCamera:
    """The worker, its outbox and its claims; ``say`` takes what is printed."""

    def __init__(self, bootstrap: str, folder: Path, say: Callable[[dict[str, Any]], None]) -> None:
        self.outbox = Outbox(folder / "outbox.sqlite", ["kafka"])
        topic = CompactedTopic(Broker(bootstrap), TOPIC, partitions=4, request_timeout_seconds=5.0)
        self.states = ScoreStates(topic, site="test")
        self.ownership = Ownership(self.states, worker=folder.name, on_fenced=self._fenced)
        self._say = say
        self.worker = Worker(
            [],
            site="test",
            run="",
            scorer=Stub(),  # type: ignore[arg-type]
            queue_clips=4,
            outbox=self,
            notify=lambda: None,
            pictures=None,
            states=self.states,
        )
        self.ownership.start()
        self.worker.start()

    def accept(self, event: Any) -> bool:
        taken = self.outbox.accept(event)
        self._say({"event": event.data.state, "id": event.id})
        return taken

    def watch(self) -> None:
        """Claim the camera and watch it."""
        claim = self.ownership.claim(CAMERA)
        self._say({"generation": claim.generation, "continues": bool(claim.states)})
        plan = CameraPlan(CAMERA, lambda _callbacks: Scene(), [DetectorPlan(CLIP, SERVED, lambda _served: SETTINGS)])
        self.worker.add(plan, claim)

    def end(self) -> None:
        """Hand the camera over."""
        self.worker.stop(hand_over=True)
        self.states.stop(20.0)
        self.ownership.close()
        self.outbox.close()

    def _fenced(self, camera: str, generation: int) -> None:
        self.worker.hand_over(camera)
        self._say({"fenced": generation})


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    say = threading.Lock()

    def line(value: dict[str, Any]) -> None:
        with say:
            print(json.dumps(value), flush=True)

    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    camera = SharedCamera(sys.argv[1], folder, line)
    try:
        line({"ready": True})
        if sys.stdin.readline():
            camera.watch()
            sys.stdin.readline()
    finally:
        camera.end()


if __name__ == "__main__":
    main()
