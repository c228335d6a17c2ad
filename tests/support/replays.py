"""Replays in this process on a Triton of known scores, and ``mistwatch replay`` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from operators.alerting import AlertState, AlertTransition
from operators.scores import ClipScore, ClipTimes, SmoothedScore
from pipeline.alerts.event import AlertEvent, event_from
from pipeline.alerts.outbox import Outbox
from pipeline.replay.replay import Outcome, Progress, Replay
from pipeline.runs.folder import ALERTS_FILE, SCORES_FILE, VIDEOS_FILE
from pipeline.runs.parts import alone_in
from pipeline.runs.recordings import wanted
from pipeline.scoring.served_model import served_model
from pipeline.settings import site_from_options
from pipeline.sources.archive import BY_NAMES, Joining

#: What is the same, byte by byte, for the same recordings, model and settings.
SAME_BYTES = (SCORES_FILE, ALERTS_FILE, VIDEOS_FILE)


def replay(
    folder: Path,
    places: list[Path],
    triton: str,
    *,
    site: dict[str, Any] | None = None,
    stop: threading.Event | None = None,
    joining: Joining = BY_NAMES,
    show: Callable[[Progress], None] = lambda _progress: None,
    **options: Any,
) -> Outcome:
    """Replay ``places`` into ``folder``.

    Args:
        site: settings on top of the usual ones.
        stop: ends it early.
        joining: the way in which files become recordings.
        show: called with the progress.
        options: of :class:`pipeline.replay.replay.Replay`.
    """
    settings = site_from_options(
        {"site": "test", "triton": {"address": triton}, "cameras": {"any": {"source": "any"}}, **(site or {})}
    )
    served = served_model(triton, settings.model_of(options.get("detector", "")))
    with alone_in(folder):
        work = Replay(wanted(places, joining=joining), folder, site=settings, served=served, **options)
        return work.run(stop or threading.Event(), show=show)


def contents(folder: Path) -> dict[str, bytes]:
    """What a run has written that is the same each time."""
    return {name: (folder / name).read_bytes() for name in SAME_BYTES}


def begin(camera: str, evidence: str = "") -> AlertEvent:
    """The first event of a recording's alert."""
    clip = ClipScore(camera, "segment", 0, 0.0, 0.64, 0.75, "m", "1", ClipTimes(None, None, None, None))
    score = SmoothedScore(clip, 0.75)
    opened = AlertTransition(AlertState.BEGIN, camera, "segment", 0, clip, clip, score, 0.6, (score,), None)
    return event_from(opened, site="yard", run="r", evidence=[evidence], replay=True)


def waiting(folder: Path) -> list[int]:
    """How many events wait in each of a run's outboxes."""
    depths = []
    for file in folder.glob("outbox*.sqlite"):
        with closing(Outbox(file, ["kafka"])) as outbox:
            depths.append(outbox.depth())
    return sorted(depths)


def start_replay(*arguments: object) -> subprocess.Popen[str]:
    """``mistwatch replay ARGUMENTS``."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.cli", "replay", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
