"""Replays on a real Triton with a model that may be gated: clips in which nothing moves are not sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from replays import contents, replay
from triton_of_brightness import Server, write_repository

from operators.heat_kind import HeatKind
from pipeline.runs.folder import SCORES_FILE, read_run

pytestmark = pytest.mark.realparts

SIDE, FPS = 64, 10
#: Clips of 4 frames: a dark yard, lights that go on over half of it, and stay.
CLIPS, LIGHTS = 70, 30


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "yard.mkv"
    rng = np.random.default_rng(4)
    yard = np.kron(rng.uniform(30, 90, (8, 8)), np.ones((8, 8)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "bgr0"
        for number in range(CLIPS * 4):
            picture = yard + rng.normal(0, 1.5, yard.shape)
            if number >= LIGHTS * 4:
                picture[:, 12:] = 230
            pixels = np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def still(triton: Server) -> Iterator[str]:
    """A model of 64 × 64 pixels whose configuration allows the gate."""
    size = {"clip_height": str(SIDE), "clip_width": str(SIDE), "clip_stride": "4"}
    write_repository(triton.repository, "still", heat=HeatKind.ATTENTION.value, gate="allowed", **size)
    triton.load("still")
    yield "still"
    triton.unload("still")


def site(model: str, triton: Server, **gate: object) -> dict[str, object]:
    return {"triton": {"address": triton.address, "model": model}, **gate}


def test_a_gated_replay_has_every_clip_and_the_alert_of_the_ungated_one(
    film: Path, tmp_path: Path, triton: Server, still: str
) -> None:
    replay(tmp_path / "gated", [film], triton.address, site=site(still, triton))
    replay(tmp_path / "all", [film], triton.address, site=site(still, triton, gate="off"))
    gated, ungated = read_run(tmp_path / "gated"), read_run(tmp_path / "all")
    clips, all_clips = gated.clips["yard"], ungated.clips["yard"]
    assert len(clips) == len(all_clips) == CLIPS
    assert clips.gated.sum() > CLIPS / 4
    assert (gated.videos[0].gated, ungated.videos[0].gated) == (clips.gated.sum(), 0)
    assert not all_clips.gated.any()
    np.testing.assert_array_equal(clips.start, all_clips.start)
    np.testing.assert_array_equal(clips.score[~clips.gated], all_clips.score[~clips.gated])
    for at in np.flatnonzero(clips.gated):
        assert clips.score[at] == clips.score[at - 1], "held"
    heat = gated.attention(gated.videos[0])
    assert heat is not None
    assert len(heat) == CLIPS
    (alert,), (other,) = gated.alerts["yard"], ungated.alerts["yard"]
    assert (alert.started, alert.opened, alert.ended, alert.end_reason) == (
        other.started,
        other.opened,
        other.ended,
        "stream_end",
    )
    assert gated.settings.run != ungated.settings.run, "another gate is another run"
    assert gated.settings.chain.gate is not None
    assert ungated.settings.chain.gate is None


def test_two_gated_replays_are_the_same_bytes(film: Path, tmp_path: Path, triton: Server, still: str) -> None:
    for name in ("one", "two"):
        replay(tmp_path / name, [film], triton.address, site=site(still, triton))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_run_of_before_the_gate_is_still_read(film: Path, tmp_path: Path, triton: Server, still: str) -> None:
    replay(tmp_path / "run", [film], triton.address, site=site(still, triton, gate="off"))
    file = tmp_path / "run" / SCORES_FILE
    table: pa.Table = parquet.read_table(file)
    parquet.write_table(table.drop_columns(["gated"]), file)
    assert not read_run(tmp_path / "run").clips["yard"].gated.any()
