"""A site's service in this process, with notes on every camera: clips, outages, losses, alerts."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.tamper import TamperEvent
from pipeline.live.listener import Watch, WorkerListener
from pipeline.live.service import Service
from pipeline.scoring.outcomes import Dropped, Scored
from pipeline.settings import site_from_options
from pipeline.sources.reconnect import Outage


@dataclass
class Notes:
    """The deeds of one camera.

    Attributes:
        clips: (segment, PTS of the first frame, arrival of the last frame on the monotonic clock) of each scored clip.
        outages: (when on that clock, reason code).
        dropped: reasons of clips without a score.
        accepted: ids of the accepted events.
        begun: when alerts began, on that clock.
    """

    clips: list[tuple[str, float, float]] = field(default_factory=list)
    outages: list[tuple[float, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    def first_clip_after(self, moment: float) -> float | None:
        """When the first clip arrived that was cut from pictures after ``moment``; None: none so far."""
        # A clip spans 0.7 s of these tests' films at 10 fps, and 7 s at 1 fps.
        later = [arrived for _, _, arrived in list(self.clips) if arrived > moment + 0.8]
        return min(later, default=None)

    def holes(self, every_seconds: float = 0.2) -> int:
        """Clips that are missing between two others of a segment, and segments beyond the first.

        Args:
            every_seconds: from the begin of a clip to that of the next one.
        """
        segments = [segment for segment, _, _ in self.clips]
        starts = [start for _, start, _ in self.clips]
        steps = [round((later - start) / every_seconds) for start, later in itertools.pairwise(starts)]
        return sum(step - 1 for step in steps) + len(set(segments)) - 1


class Fleet(WorkerListener):
    """A running service over a site. As a context it is closed at the end."""

    def __init__(self, folder: Path, triton: str, kafka: str, cameras: Mapping[str, Mapping[str, Any]]) -> None:
        self.notes: dict[str, Notes] = defaultdict(Notes)
        self.left: int | None = None  #: accepted events that are not on the topic, once it is closed
        options = {
            "site": "fleet",
            "state_dir": folder / "state",
            "triton": {"address": triton, "queue_clips": 256, "max_in_flight": 16, "deadline_seconds": 60},
            "kafka": {"bootstrap": kafka},
            "alerts": {"min_clips": 1},
            "cameras": {name: dict(settings) for name, settings in cameras.items()},
        }
        self.service = Service(site_from_options(options), listeners=[self])

    def __enter__(self) -> Self:
        assert self.service.prepare(threading.Event(), patient=True)
        self.service.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; every accepted event is on the topic, or counted as left."""
        if self.left is None:
            self.left = self.service.close(relay_seconds=60)

    @property
    def ledger(self) -> list[tuple[str, str]]:
        """(camera, id) of every accepted event, in order within a camera."""
        return [(camera, identity) for camera, notes in self.notes.items() for identity in notes.accepted]

    def scored(self, watch: Watch, scored: Scored) -> None:
        """See :class:`WorkerListener`; so the others."""
        window = scored.window
        self.notes[watch.camera].clips.append((window.segment.id, window.start, window.captured_monotonic))

    def dropped(self, watch: Watch, dropped: Dropped) -> None:
        self.notes[watch.camera].dropped.append(dropped.reason)

    def away(self, outage: Outage) -> None:
        self.notes[outage.camera].outages.append((time.monotonic(), outage.code))

    def accepted(self, watch: Watch, event: AlertEvent) -> None:
        self.notes[watch.camera].accepted.append(event.id)
        if event.data.state == "begin":
            self.notes[watch.camera].begun.append(time.monotonic())

    def tampered(self, event: TamperEvent) -> None:
        self.notes[event.subject].accepted.append(event.id)
