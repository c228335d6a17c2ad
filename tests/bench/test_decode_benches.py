"""The arithmetic of the benches of decoding and of one more camera."""

from __future__ import annotations

import json
from dataclasses import asdict
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
    found = cameras.summary(runs, 0.16, None)
    assert found["memory_mb_a_camera"] == pytest.approx(10.5)  # 280 / 28 and 308 / 28
    assert found["cost_at_32_to_4"].median == pytest.approx(1.05)
    assert found["cameras"]["4"]["all"] == pytest.approx(1.75)
    json.dumps({**found, "cost_at_32_to_4": None})


def test_the_transport_belongs_to_the_rest_that_is_asked_for(load):
    """A clip is 32 decoded pictures: 1.6 ms of transport are 0.05 ms for each, beside 5 ms of the encoder."""
    shares = load("cameras").shares(run(), encoder_seconds=0.16, transport_ms=1.6)
    assert shares["transport"] == pytest.approx(0.05 / 6.55)
    assert shares["neither_decoding_nor_encoder"] == pytest.approx(0.55 / 6.55)


def test_encoder_and_transport_come_of_their_own_benches(load):
    cameras = load("cameras")
    assert cameras.encoder_of({"milliseconds": {"int8_in_process": 80.0}, "machine": {"cores": 2}}) == 0.16
    assert cameras.encoder_of({"milliseconds": {"fp32_in_process": 80.0}, "machine": {"cores": 2}}) is None
    found = {"transport_alone": {"processor_milliseconds_a_clip": {"gRPC": 3.0, "shared memory": 1.6}}}
    assert cameras.transport_of(found) == 1.6
    assert cameras.encoder_of(None) is cameras.transport_of(None) is None


def test_the_page_reads_the_keys_of_the_bench_of_cameras(load):
    """A run in which a worker falls behind, or the transport is not counted, does not count as a measurement."""
    cameras, performance = load("cameras"), load("performance")
    share, growth, _memory = [row for row in performance.ROWS if row.bench == "cameras"]

    def judged(row, transport_ms=1.6, **changed: float) -> tuple[str, str]:
        found = cameras.summary({4: [run()], 16: [run(**changed)], 32: [run(**changed)]}, 0.16, transport_ms)
        return row.judged(json.loads(json.dumps(found, default=asdict)))

    assert judged(share) == ("8.4 %", "**missed**")  # 0.55 / 6.55
    assert judged(share, scaling=0.05, rest=0.05, all=1.1)[1] == "met"  # 0.15 / 6.15 = 2.4 %
    assert judged(share, transport_ms=None)[1] == "not measured: the transport is not counted"
    assert judged(share, on_time=0.94)[1] == "not measured: the worker fell behind at 16 cameras"
    assert judged(growth)[1] == "met"
    assert judged(growth, on_time=0.94)[1] == "not measured: the worker fell behind at 32 cameras"


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
