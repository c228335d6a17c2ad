"""Replays on a real Triton with a model that reads a scene: SCORE is a clip's distance from the scene it came with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from replays import contents, replay
from triton_of_brightness import H, Server, T, W

from operators.background import SceneKind, standing_scene
from pipeline.replay.replay import Outcome
from pipeline.runs.folder import read_run
from pipeline.sources.base import Fit
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut

pytestmark = pytest.mark.realparts

CLIP = ClipSpec(frames=T, stride=2, height=H, width=W, fit=Fit.CROP)
FPS = 2


def write_film(path: Path, seconds: int, *, arrives: int, slow: int = 0) -> Path:
    """A lossless film of a place, in which something dark arrives and stays, and something small passes on and on.

    The tiny model takes ``slow`` × 10 ms for each of its clips.
    """
    place = np.random.default_rng(arrives).integers(60, 200, (H, W, 3), dtype=np.uint8)
    place[0, 0] = (slow, 0, 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = W, H, "bgr0"
        for number in range(seconds * FPS):
            picture = place.copy()
            picture[6:12, number % 12 : number % 12 + 4] = 255
            if number >= arrives * FPS:
                picture[12:, 4:12] = 20
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(params=list(SceneKind))
def kind(request: pytest.FixtureRequest, triton: Server) -> Iterator[SceneKind]:
    triton.serve("contrast", name="contrast", scene=request.param.value)
    yield request.param
    triton.unload("contrast")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    write_film(folder / "a.mkv", 110, arrives=90)
    write_film(folder / "b.mkv", 110, arrives=100, slow=1)
    write_film(folder / "c.mkv", 110, arrives=85)
    return folder


def run(folder: Path, places: list[Path], triton: Server, **options: Any) -> Outcome:
    site = {"triton": {"address": triton.address, "model": "contrast"}}
    return replay(folder, places, triton.address, site=site, **options)


def test_each_clip_is_scored_against_the_scene_of_the_footage_before_it(
    films: Path, tmp_path: Path, triton: Server, kind: SceneKind
) -> None:
    film = films / "a.mkv"
    run(tmp_path / "run", [film], triton)
    clips = read_run(tmp_path / "run").clips["a"]
    scene = standing_scene(kind)
    expected = []
    items = cut(FileSource("a", film).frames([CLIP.frame_spec], threading.Event()), CLIP)
    for window in (item for item in items if isinstance(item, ClipWindow)):
        picture = scene.push(window.segment.id, window.start, window.pixels)
        # Without one the tiny model takes black.
        shown = window.pixels.astype(float) - (0 if picture is None else picture)
        expected.append(np.abs(shown).mean() / 255)
    assert clips.score == pytest.approx(np.array(expected), abs=1e-6)
    resting = clips.score[clips.start > 100]
    assert (resting.max() < 0.06) == (kind is SceneKind.CLIP), "what has come to rest is in the short scene alone"


@pytest.mark.parametrize("kind", [SceneKind.BACKGROUND], indirect=True)
def test_scenes_are_the_same_whatever_ran_beside_and_after_a_stop(
    films: Path, tmp_path: Path, triton: Server, kind: SceneKind
) -> None:
    run(tmp_path / "one", [films], triton, jobs=1)
    run(tmp_path / "two", [films], triton, jobs=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")

    stop = threading.Event()
    in_the_second = 1.2 * len(read_run(tmp_path / "one").clips["a"])
    stopped = run(
        tmp_path / "again",
        [films],
        triton,
        jobs=1,
        stop=stop,
        show=lambda progress: stop.set() if progress.clips > in_the_second else None,
    )
    assert stopped.stopped
    assert run(tmp_path / "again", [films], triton).kept == 1
    assert contents(tmp_path / "again") == contents(tmp_path / "one")
