"""The arithmetic of the benches of decoding and of one more camera."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def run(**changed: float) -> dict[str, float]:
    costs = {"all": 1.5, "decoding": 1.0, "scaling": 0.3, "rest": 0.2, "pss_mb": 100.0, "on_time": 1.0}
    return costs | changed


def test_shares_are_of_the_whole_with_the_encoder(load):
    """16 pictures at 12.5 a second are 1.28 s, or 32 decoded pictures; 0.16 s of the encoder are 5 ms for each."""
    shares = load("cameras").shares(run(), encoder_seconds=0.16)
    assert shares["encoder"] == pytest.approx(5.0 / 6.5)
    assert shares["rest"] == pytest.approx(0.2 / 6.5)
    assert shares["neither_decoding_nor_encoder"] == pytest.approx(0.5 / 6.5)
    assert sum(shares[name] for name in ("encoder", "decoding", "scaling", "rest")) == pytest.approx(1.0)


def test_a_camera_more_is_the_most_against_the_fewest_round_by_round(load):
    cameras = load("cameras")
    runs = {
        4: [run(), run(all=2.0, pss_mb=110.0)],
        16: [run(), run()],
        32: [run(all=1.5, pss_mb=380.0), run(all=2.2, pss_mb=418.0)],
    }
    found = cameras.summary(runs, 0.16)
    assert found["memory_mb_a_camera"] == pytest.approx(10.5)  # 280 / 28 and 308 / 28
    assert found["cost_at_32_to_4"].median == pytest.approx(1.05)
    assert found["cameras"]["4"]["all"] == pytest.approx(1.75)
    json.dumps({**found, "cost_at_32_to_4": None})


def test_the_times_of_threads_are_summed(load):
    spent = load("cameras").Spent()
    spent.add(0.25)
    spent.add(0.5)
    assert spent.seconds == 0.75


@pytest.mark.slow
def test_a_worker_of_two_cameras_is_measured(load, tmp_path, data):
    cameras = load("cameras")
    film = cameras.make_film(data, tmp_path, 30)
    found = cameras.in_a_process(film, 2, 2.0)
    assert found["all"] == pytest.approx(found["decoding"] + found["scaling"] + found["rest"])
    assert min(found.values()) > 0


def test_a_library_that_fails_is_left_out_and_named(load, monkeypatch):
    decode = load("decode")

    def missing(_film: Path) -> None:
        raise ModuleNotFoundError("No module named 'fast'\nand more")

    monkeypatch.setattr(decode, "PEERS", {"mistwatch": lambda _film: None, "fast": missing})
    peers, left_out = decode.usable(Path("film.mp4"))
    assert list(peers) == ["mistwatch"]
    assert left_out == {"fast": "ModuleNotFoundError: No module named 'fast'"}


def test_every_reader_reads_the_same_film(load, tmp_path, video_25):
    """40 pictures, of which every second one is kept."""
    decode = load("decode")
    assert decode.ours(video_25) == 20
    for peer in ("OpenCV", "ffmpeg"):
        decode.PEERS[peer](video_25)


@pytest.fixture
def video_25(load, tmp_path):
    film = tmp_path / "film.mp4"
    pictures = "testsrc2=size=320x240:rate=25:duration=1.6"
    load("decode")._ffmpeg("-f", "lavfi", "-i", pictures, "-c:v", "libx264", "-bf", "0", film)
    return film


def test_processor_time_counts_children(load):
    decode = load("decode")
    before = decode.processor_seconds()
    decode._ffmpeg("-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25:duration=2", "-f", "null", "-")
    assert decode.processor_seconds() > before
