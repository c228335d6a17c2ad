"""A real Triton whose model hosts the parts of cameras: added, exchanged, rolled back under way, missing, damaged."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tritonclient.grpc as triton
from brightness_program import BrightnessProgram
from parts_of_brightness import CLIP, HOST, cell_means, grey_clip, put, use_programs
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonServer
from models.serving import versions
from pipeline.scoring.outcomes import DropReason, Scored
from pipeline.scoring.scorer import CameraPort, ScoredModel, Scorer
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, Trouble, part_input, served_model

pytestmark = [pytest.mark.realparts, pytest.mark.waits]

LEVELS = {"gate": 0.2, "yard": 0.6}
SIZE = {"stride": 2, "fit": "crop", "fps": None}  #: of the clips of this folder's kit


class Host:
    """A Triton that hosts the parts of two cameras."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for camera, level in LEVELS.items():
            self.put(camera, level)
        self.triton = TritonServer(folder / "repository", log=folder / "triton.log")

    @property
    def address(self) -> str:
        return self.triton.grpc_address

    def part(self, camera: str) -> Path:
        return self.folder / "repository" / HOST / "parts" / camera

    def put(self, camera: str, level: float) -> None:
        put(self.folder, camera, level, **SIZE)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Iterator[Host]:
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    with pytest.MonkeyPatch.context() as patch:
        use_programs(patch)
        host = Host(tmp_path_factory.mktemp("host"))
        with host.triton:
            yield host


def request(clips: np.ndarray, part: str) -> list[Any]:
    clip = triton.InferInput("CLIP", clips.shape, "UINT8")
    clip.set_data_from_numpy(clips)
    return [clip, part_input(part)]


def test_each_request_is_scored_by_its_part_and_a_missing_one_fails_alone(host: Host) -> None:
    """Sent at once, so that Triton batches them, with names of different lengths."""
    answers: dict[str, Any] = {}
    done = threading.Semaphore(0)

    def answered(part: str) -> Callable[..., None]:
        def take(result: Any, error: Exception | None) -> None:
            answers[part] = error or result
            done.release()

        return take

    with triton.InferenceServerClient(host.address) as client:
        for part in ("gate", "porch", "yard", "../gate"):
            client.async_infer(HOST, request(grey_clip(0.2)[None], part), callback=answered(part), client_timeout=60)
        for _ in range(4):
            assert done.acquire(timeout=60)
    assert answers["gate"].as_numpy("SCORE").item() == pytest.approx(0, abs=1e-6)
    assert answers["yard"].as_numpy("SCORE").item() == pytest.approx(0.4, abs=1e-6)
    assert {answers[part].as_numpy("PART_VERSION").item() for part in LEVELS} == {1}
    for part in ("porch", "../gate"):
        assert answers[part].status() == "StatusCode.NOT_FOUND"
    assert answers["porch"].message().startswith("PART porch: the model has no such part")


def test_clips_of_one_request_have_one_part(host: Host) -> None:
    with triton.InferenceServerClient(host.address) as client:
        clips = np.stack([grey_clip(0.2), grey_clip(0.6)])
        clip, _ = request(clips, "gate")
        names = np.frombuffer(b"gateyard", np.uint8).reshape(2, 4)
        nameless = np.zeros((2, 0), np.uint8), np.full((2, 3), 255, np.uint8)
        for rows, ok in ((names[[0, 0]], True), *((rows, False) for rows in (names, *nameless))):
            part = triton.InferInput("PART", rows.shape, "UINT8")
            part.set_data_from_numpy(rows)
            if ok:
                answer = client.infer(HOST, [clip, part], client_timeout=60)
                np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], [0, 0.4], atol=1e-6)
                continue
            with pytest.raises(
                InferenceServerException, match=r"a request must name one part|cannot be the name of a p"
            ):
                client.infer(HOST, [clip, part], client_timeout=60)


def test_a_part_describes_itself(host: Host) -> None:
    whole = served_model(host.address, HOST)
    assert whole.hosts_parts
    gate = served_model(host.address, HOST, part="gate")
    assert (gate.name, gate.version, gate.threshold, gate.close_threshold, gate.kernel) == (
        "bright",
        "1.1",
        0.5,
        0.25,
        1,
    )
    assert (gate.clip.frames, gate.clip.height, gate.clip.fit, gate.clip.fps) == (4, 16, "crop", None)
    assert (gate.rarity, gate.hosts_parts) == (True, False)
    assert gate.weights_sha256 != served_model(host.address, HOST, part="yard").weights_sha256
    with pytest.raises(ScorerUnavailable, match=f"model {HOST}, part porch: the model has no such part") as caught:
        served_model(host.address, HOST, part="porch")
    assert caught.value.trouble is Trouble.PART


class Traffic:
    """Recordings of several cameras in flight, until they are asked to end."""

    def __init__(self, kit: Any, host: Host, cameras: tuple[str, ...]) -> None:
        self.kit = kit
        self.listener = kit.Listener()
        self.consumers = {camera: kit.Consumer() for camera in cameras}
        self.submitted = dict.fromkeys(cameras, 0)
        self._stop = threading.Event()
        models = [ScoredModel(HOST, kit.clip, part=camera) for camera in cameras]
        self.scorer = Scorer(host.address, models, listener=self.listener)
        self.ports: dict[str, CameraPort] = {
            camera: self.scorer.add_camera(
                camera, model=HOST, part=camera, live=False, capacity=4, deliver=self.consumers[camera]
            )
            for camera in cameras
        }
        self._threads = [threading.Thread(target=self._submit, args=(camera,)) for camera in cameras]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()
        self.scorer.close()

    def _submit(self, camera: str) -> None:
        while not self._stop.is_set():
            self.ports[camera].submit(self.kit.window(camera, self.submitted[camera], live=False))
            self.submitted[camera] += 1

    def until_version(self, camera: str, version: str, clips: int = 10) -> None:
        """Wait until the version has scored ``clips`` further clips of the camera."""
        consumer = self.consumers[camera]
        seen = len(consumer.outcomes)

        def scored() -> bool:
            new = consumer.outcomes[seen:]
            return sum(isinstance(one, Scored) and one.model_version == version for one in new) >= clips

        self.kit.until(scored)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        for port in self.ports.values():
            assert port.drain(60)

    def check(self, camera: str, levels: dict[str, float]) -> None:
        """Every clip was scored exactly once, as the version says that its answer names."""
        outcomes = self.consumers[camera].outcomes
        assert sorted(one.window.index for one in outcomes) == list(range(self.submitted[camera]))
        assert self.consumers[camera].dropped() == []
        assert {one.model_version for one in outcomes} == set(levels)
        for one in outcomes[:: max(1, len(outcomes) // 200)]:
            expected = BrightnessProgram(levels[one.model_version]).run(one.window.pixels[None])["SCORE"].item()
            assert one.score == pytest.approx(expected, abs=1e-6)


def test_a_part_is_exchanged_and_rolled_back_and_another_is_added_without_a_lost_clip(kit: Any, host: Host) -> None:
    with Traffic(kit, host, ("gate", "yard")) as traffic:
        traffic.until_version("gate", "1.1")
        host.put("gate", 0.4)
        traffic.until_version("gate", "1.2")
        host.put("door", 0.3)
        assert served_model(host.address, HOST, part="door").version == "1.1"
        assert versions.roll_back(host.part("gate")) == 1
        traffic.until_version("gate", "1.1")
        traffic.until_version("yard", "1.1")
        traffic.end()
    traffic.check("gate", {"1.1": 0.2, "1.2": 0.4})
    traffic.check("yard", {"1.1": 0.6})
    assert traffic.listener.said == []
    assert [served.version for served in traffic.listener.exchanges] == ["1.2", "1.1"]


def test_a_missing_part_holds_up_its_camera_alone_until_it_is_added(kit: Any, host: Host) -> None:
    with Traffic(kit, host, ("late", "yard")) as traffic:
        kit.until(lambda: traffic.listener.said)
        traffic.until_version("yard", "1.1", clips=100)
        assert traffic.consumers["late"].outcomes == []
        host.put("late", 0.5)
        traffic.until_version("late", "1.1")
        traffic.end()
    traffic.check("late", {"1.1": 0.5})
    traffic.check("yard", {"1.1": 0.6})
    missing, there = traffic.listener.said
    assert missing.startswith("late is waited for: ")
    assert f"model {HOST}, part late: the model has no such part; add it with `mistwatch export --into`" in missing
    assert there == "late is there"


def test_a_damaged_part_waits_for_a_rollback(kit: Any, host: Host) -> None:
    host.put("torn", 0.5)
    host.put("torn", 0.7)
    (host.part("torn") / "2" / "scorer.npz").write_bytes(b"PK")
    with Traffic(kit, host, ("torn", "yard")) as traffic:
        kit.until(lambda: traffic.listener.said)
        assert versions.roll_back(host.part("torn")) == 1
        traffic.until_version("torn", "1.1")
        traffic.end()
    traffic.check("torn", {"1.1": 0.5})
    traffic.check("yard", {"1.1": 0.6})
    assert "part torn: version 2 cannot be opened" in traffic.listener.said[0]


def test_a_live_camera_without_its_part_drops_its_own_clips_alone(kit: Any, host: Host) -> None:
    consumers = {camera: kit.Consumer() for camera in ("porch", "yard")}
    models = [ScoredModel(HOST, kit.clip, part=camera) for camera in consumers]
    with Scorer(host.address, models) as scorer:
        ports = {
            camera: scorer.add_camera(camera, model=HOST, part=camera, live=True, capacity=2, deliver=consumer)
            for camera, consumer in consumers.items()
        }
        for index in range(6):
            ports["porch"].submit(kit.window("porch", index))
        ports["yard"].submit(kit.window("yard", 0))
        kit.until(lambda: consumers["yard"].scored == [0])
        kit.until(lambda: consumers["porch"].dropped(DropReason.UNAVAILABLE, DropReason.OVERLOAD) == [0, 1, 2, 3])


def test_a_model_without_parts_is_not_asked_for_one(kit: Any, server: Any) -> None:
    with pytest.raises(ClipMismatch, match="hosts no parts of cameras, and its part gate is asked for"):
        served_model(server.address, part="gate")


def test_a_shared_network_in_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    """The common step is taken for the clips of all cameras together, then each is judged by its own part."""
    use_programs(monkeypatch, cell_means())
    for camera, level in LEVELS.items():
        put(tmp_path, camera, level, **SIZE)
    clips = np.random.default_rng(1).integers(0, 256, (1, *CLIP), np.uint8)
    means = clips[0, -1].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3, 4)) / 255
    with TritonServer(tmp_path / "repository") as own, triton.InferenceServerClient(own.grpc_address) as client:
        for camera, level in LEVELS.items():
            answer = client.infer(HOST, request(clips, camera), client_timeout=60)
            assert answer.as_numpy("SCORE").item() == pytest.approx(abs(means - level).max(), abs=1e-5)
            np.testing.assert_allclose(answer.as_numpy("HEAT")[0], abs(means - level), atol=1e-5)
