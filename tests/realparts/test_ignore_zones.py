"""Ignore zones behind a real Triton: a model of its own and one that hosts parts, masked and unmasked at once."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import brightness_family
import numpy as np
import pytest
import tritonclient.grpc as triton
from parts_of_brightness import CLIP, HOST, cell_means, grey_clip, put, use_programs
from site_runs import BRIGHT, DARK, FPS, site

from deploy.triton.server import TritonServer
from models.serving.export import export
from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.scoring.served_model import HeatMap, served_model

pytestmark = pytest.mark.realparts

LEVEL = 0.2
ROAD = {"points": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]], "ignore": True}
SIZE = {"stride": 2, "fit": "crop", "fps": None}


def write_half_bright(path: Path) -> Path:
    """A film of 5 s whose right half is bright."""
    picture = np.full((48, 64, 3), DARK, np.uint8)
    picture[:, 32:] = BRIGHT
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "5", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5 * FPS):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_nothing_in_an_ignore_zone_raises_an_alert(
    tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cameras see the same, watched by a model and by parts of their own. Only the gate ignores the road."""
    use_programs(monkeypatch)
    for camera in ("gate", "yard"):
        put(tmp_path, camera, LEVEL, **SIZE)
    brightness_family.train(tmp_path / "any", LEVEL, camera="any", **SIZE)
    export(str(tmp_path / "any"), tmp_path / "repository", name="any")
    video = str(write_half_bright(tmp_path / "road.mp4"))
    events: list[AlertEvent] = []
    with TritonServer(tmp_path / "repository", log=tmp_path / "triton.log") as server:
        for model, part in (("any", ""), (HOST, "gate")):
            served = served_model(server.grpc_address, model, part=part)
            assert served.takes_mask
            assert isinstance(served.heat, HeatMap)
        settings = site(
            tmp_path,
            server.grpc_address,
            broker,
            {"gate": {"source": video, "zones": {"road": ROAD}}, "yard": {"source": video}},
            detectors={"any": {"model": "any"}, "own": {"model": HOST}},
        )
        service = Service(settings, run="r", published=events.append)
        try:
            assert service.prepare(threading.Event(), patient=False)
            service.start()
            assert service.worker is not None
            assert service.worker.wait(120)
            assert all(state.scored > 10 and not state.dropped for state in service.board.states)
        finally:
            service.close(relay_seconds=60)
    begun = sorted((event.subject, event.data.detector) for event in events if event.data.state == "begin")
    assert begun == [("yard", "any"), ("yard", "own")]


def ask(address: str, model: str, clips: np.ndarray, mask: np.ndarray | None, part: str) -> tuple[float, np.ndarray]:
    """Return SCORE and HEAT of one clip."""
    given = {"CLIP": clips[None], "MASK": None if mask is None else mask[None]}
    given["PART"] = np.frombuffer(part.encode(), np.uint8)[None] if part else None
    inputs = []
    for name, array in given.items():
        if array is not None:
            inputs.append(triton.InferInput(name, list(array.shape), "UINT8"))
            inputs[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(address) as client:
        answer = client.infer(model, inputs, client_timeout=60)
    return float(answer.as_numpy("SCORE")[0, 0]), answer.as_numpy("HEAT")[0]


@pytest.mark.parametrize("common", [False, True], ids=["own step", "common step"])
def test_requests_with_and_without_a_mask_at_once_each_get_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, common: bool
) -> None:
    """Six clients keep the queues filled, so that Triton puts requests of both kinds together."""
    use_programs(monkeypatch, cell_means() if common else None)
    put(tmp_path, "gate", LEVEL)
    brightness_family.train(tmp_path / "any", LEVEL)
    export(str(tmp_path / "any"), tmp_path / "repository", name="any")
    clip = grey_clip(LEVEL)
    clip[:, 4:8, 4:8] = 255  # four cells of the network, sixteen pixels
    cells = 8 if common else CLIP[1]
    masks = np.zeros((2, cells, cells), np.uint8)
    masks[0, : cells // 2] = 1  # hides the bright places
    masks[1, cells // 2 :] = 255  # hides others
    wrong: list[str] = []
    with TritonServer(tmp_path / "repository", log=tmp_path / "triton.log") as server:

        def work(number: int) -> None:
            for turn in range(20):
                kind = (number + turn) % 3
                model, part = (HOST, "gate") if number % 2 else ("any", "")
                mask = None if kind == 2 else masks[kind]
                score, heat = ask(server.grpc_address, model, clip, mask, part)
                expected = 0.0 if kind == 0 else 0.8
                hidden = mask is not None and heat[mask != 0].any()
                if abs(score - expected) > 1e-5 or hidden:
                    wrong.append(f"{model}, kind {kind}: {score}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
