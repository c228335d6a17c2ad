"""The scenes that a watcher's clips are scored against, while versions of its model change places."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from steered_films import steered

from operators.background import SceneKind
from operators.chain import ChainSettings
from pipeline.live.camera import DetectorPlan, Watcher
from pipeline.live.listener import Watch
from pipeline.scoring.served_model import ServedModel
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow

CLIP = ClipSpec(frames=4, stride=2, height=16, width=16)
PLAIN = ServedModel("mean", "1", CLIP)
SHORT = dataclasses.replace(PLAIN, version="2", scene=SceneKind.CLIP)
LONG = dataclasses.replace(PLAIN, version="3", scene=SceneKind.BACKGROUND)
GREY = 90


class Watched:
    """A watcher over a grey film of 10 pictures a second; its queue is a list."""

    def __init__(self, film: Path, served: ServedModel) -> None:
        clip = served.clip
        plan = DetectorPlan(clip, served, lambda _served: ChainSettings())
        self.watcher = Watcher(Watch("gate"), plan, assembler=cast("Any", None), drift=cast("Any", None))
        self.clips: list[ClipWindow] = []
        self.watcher.port = cast("Any", SimpleNamespace(submit=self.clips.append))
        self._frames = iter(FileSource("gate", film).frames([clip.frame_spec], threading.Event()))

    def watch(self, seconds: float) -> list[ClipWindow]:
        """Return the clips of so many seconds more."""
        seen = len(self.clips)
        for _ in range(round(seconds * 10)):
            self.watcher.take(next(self._frames))
        return self.clips[seen:]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return steered(tmp_path / "grey.mkv", (1000, (GREY, GREY, GREY), GREY))


def scenes(clips: list[ClipWindow]) -> set[int | None]:
    """The greys of the scenes."""
    assert all(clip.scene is None or np.ptp(clip.scene) == 0 for clip in clips)
    return {None if clip.scene is None else int(clip.scene[0, 0, 0]) for clip in clips}


def test_a_model_that_reads_none_gets_none(film: Path) -> None:
    clips = Watched(film, PLAIN).watch(5.0)
    assert scenes(clips) == {None}
    assert {clip.scene_kind for clip in clips} == {None}


def test_the_short_scene_is_there_from_the_first_clip_and_shared(film: Path) -> None:
    clips = Watched(film, SHORT).watch(5.0)
    assert scenes(clips) == {GREY}
    assert all(clip.scene is clips[0].scene for clip in clips)


def test_a_film_slower_than_the_clips_rate_has_longer_clips_and_their_median(film: Path) -> None:
    """No picture is repeated: 4 pictures of 10 a second span 0.4 s, at 25 a second they would span 0.16 s."""
    faster = dataclasses.replace(SHORT, clip=dataclasses.replace(CLIP, fps=25.0))
    clips = Watched(film, faster).watch(5.0)
    assert len(clips) == 24  # one every 2 of 50 pictures, from the fourth on
    assert [clip.end - clip.start for clip in clips] == pytest.approx([0.4] * 24)
    assert scenes(clips) == {GREY}


def test_the_background_is_there_once_it_is_known(film: Path) -> None:
    watched = Watched(film, LONG)
    assert scenes(watched.watch(70.0)) == {None}
    assert scenes(watched.watch(20.0)[5:]) == {GREY}
    assert {clip.scene_kind for clip in watched.clips} == {SceneKind.BACKGROUND}


def test_another_version_has_its_own_scene_from_then_on(film: Path) -> None:
    watched = Watched(film, PLAIN)
    assert scenes(watched.watch(2.0)) == {None}
    watched.watcher.served = SHORT
    assert scenes(watched.watch(2.0)) == {GREY}
    watched.watcher.served = dataclasses.replace(SHORT, version="7")
    clips = watched.watch(2.0)
    assert clips[-1].scene is clips[0].scene is not None
    watched.watcher.served = LONG
    assert scenes(watched.watch(70.0)) == {None}
    assert scenes(watched.watch(10.0)[5:]) == {GREY}
    watched.watcher.served = PLAIN
    assert scenes(watched.watch(2.0)) == {None}
