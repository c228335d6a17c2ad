"""The exported model behind a real Triton, over gRPC."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonError, TritonServer

pytestmark = pytest.mark.realparts

READY_SECONDS = 120.0  # a few seconds, where the machine has nothing else to do
ANSWER_SECONDS = 60.0  # a clip takes 0.2 s; other work may share the machine


@pytest.fixture(scope="module")
def server(repository: Path, require) -> Iterator[TritonServer]:
    import importlib.util

    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    running = TritonServer(repository)
    running.start(READY_SECONDS)
    yield running
    running.stop()


@pytest.fixture
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected


def infer(
    client: triton.InferenceServerClient, clips: npt.NDArray[np.generic], outputs: list[str] | None = None
) -> triton.InferResult:
    tensor = triton.InferInput("CLIP", list(clips.shape), {"u": "UINT8", "f": "FP32"}[clips.dtype.kind])
    tensor.set_data_from_numpy(clips)
    wanted = None if outputs is None else [triton.InferRequestedOutput(name) for name in outputs]
    return client.infer("clip_scorer", [tensor], outputs=wanted, client_timeout=ANSWER_SECONDS)


def stubs(repository: Path) -> set[int]:
    """Process ids of the stubs that serve ``repository``."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().split(b"\0")
            if line[0].endswith(b"triton_python_backend_stub") and str(repository).encode() in line[1]:
                found.add(int(entry.parent.name))
    return found


class TestAnswers:
    def test_the_features_are_the_golden_ones(self, client, clips, golden) -> None:
        answer = infer(client, clips[[0, 3]])
        np.testing.assert_allclose(answer.as_numpy("FEATURES"), golden["features16"], atol=1e-3, rtol=0)

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_every_batch_size_is_what_the_engine_says(self, client, clips, openvino_engine, size) -> None:
        expected = openvino_engine.score(clips[6 - size :])
        answer = infer(client, clips[6 - size :])
        assert answer.as_numpy("SCORE").shape == (size, 1)
        np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], expected.scores, atol=1e-5, rtol=0)
        np.testing.assert_allclose(answer.as_numpy("FEATURES"), expected.features, atol=1e-3, rtol=0)

    def test_one_output_alone(self, client, clips, openvino_engine) -> None:
        answer = infer(client, clips[:1], ["SCORE"])
        assert [output.name for output in answer.get_response().outputs] == ["SCORE"]
        np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], openvino_engine.score(clips[:1]).scores, atol=1e-5)

    def test_clients_at_once_each_get_their_own(self, server, clips, openvino_engine) -> None:
        """Each sends other clips than its neighbour, so that an answer of the wrong request would show."""
        expected = openvino_engine.score(clips).scores
        wrong: list[str] = []

        def ask(at: int) -> None:
            with triton.InferenceServerClient(server.grpc_address) as mine:
                for turn in range(2):
                    clip = (at + turn) % len(clips)
                    got = infer(mine, clips[clip : clip + 1]).as_numpy("SCORE")[0, 0]
                    if abs(got - expected[clip]) > 1e-5:
                        wrong.append(f"clip {clip}: {got} instead of {expected[clip]}")

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ANSWER_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (np.zeros((1, 16, 112, 112, 3), np.uint8), "shape"),
            (np.zeros((1, 8, 224, 224, 3), np.uint8), "shape"),
            (np.zeros((4, 16, 224, 224, 3), np.uint8), "batch"),  # one more than the model's largest
            (np.zeros((1, 16, 224, 224, 3), np.float32), "data-type"),
        ],
        ids=["size", "length", "batch", "type"],
    )
    def test_other_clips_are_refused_and_the_next_is_scored(self, client, clips, openvino_engine, wrong, says) -> None:
        with pytest.raises(InferenceServerException, match=says):
            infer(client, wrong)
        got = infer(client, clips[:1]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(got, openvino_engine.score(clips[:1]).scores, atol=1e-5)

    def test_the_scoring_client_understands_its_description(self, server) -> None:
        from pipeline.scoring.served_model import served_model
        from pipeline.sources.base import Fit
        from pipeline.windows import ClipSpec

        told = served_model(server.grpc_address)
        assert told.name == "random"
        assert told.clip == ClipSpec(frames=16, stride=8, height=224, width=224, fit=Fit.LETTERBOX, fps=12.5)
        assert (told.threshold, told.kernel) == (0.625, 5)


class TestRecovery:
    def test_a_killed_stub_is_recovered_by_a_reload(self, server, client, clips, openvino_engine) -> None:
        (stub,) = stubs(server.repository)
        os.kill(stub, signal.SIGKILL)
        with pytest.raises(InferenceServerException, match="not healthy"):
            infer(client, clips[:1])
        client.unload_model("clip_scorer")
        client.load_model("clip_scorer")
        got = infer(client, clips[:1]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(got, openvino_engine.score(clips[:1]).scores, atol=1e-5)

    def test_the_same_ports_serve_again_after_a_stop(self, server, clips, openvino_engine) -> None:
        address = server.grpc_address
        server.stop()
        deadline = time.monotonic() + READY_SECONDS
        while stubs(server.repository) and time.monotonic() < deadline:
            time.sleep(0.05)  # what was killed takes a moment to be gone
        assert stubs(server.repository) == set()
        server.start(READY_SECONDS)
        assert server.grpc_address == address
        with triton.InferenceServerClient(address) as client:
            got = infer(client, clips[:1]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(got, openvino_engine.score(clips[:1]).scores, atol=1e-5)


class TestDamage:
    """What is wrong with a repository is said in one line, and not only when the time for starting is over."""

    @pytest.fixture
    def damaged(self, repository: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(repository, tmp_path / "repository"))

    def refused(self, repository: Path) -> str:
        server = TritonServer(repository)
        with pytest.raises(TritonError) as error:
            server.start(READY_SECONDS)
        assert not server.alive()
        assert "\n" not in str(error.value)
        assert "not ready within" not in str(error.value)
        return str(error.value)

    def test_a_missing_network(self, damaged: Path) -> None:
        (damaged / "clip_scorer" / "1" / "scorer.xml").unlink()
        said = self.refused(damaged)
        assert "scorer.xml" in said
        assert "mistwatch export" in said

    def test_missing_weights(self, damaged: Path) -> None:
        (damaged / "clip_scorer" / "1" / "scorer.bin").unlink()
        said = self.refused(damaged)
        assert "scorer.xml cannot be loaded" in said
        assert "mistwatch export" in said

    def test_a_cut_network(self, damaged: Path) -> None:
        network = damaged / "clip_scorer" / "1" / "scorer.xml"
        network.write_bytes(network.read_bytes()[:1000])
        assert "scorer.xml cannot be loaded" in self.refused(damaged)

    def test_cut_weights(self, damaged: Path) -> None:
        weights = damaged / "clip_scorer" / "1" / "scorer.bin"
        weights.write_bytes(weights.read_bytes()[:1_000_000])
        assert "scorer.xml cannot be loaded" in self.refused(damaged)

    def test_an_engine_that_there_is_not(self, damaged: Path) -> None:
        config = damaged / "clip_scorer" / "config.pbtxt"
        config.write_text(config.read_text().replace('"auto"', '"abacus"'))
        assert "abacus" in self.refused(damaged)


def test_torch_behind_triton_agrees(repository: Path, tmp_path: Path, clips, openvino_engine) -> None:
    """The stub finds this project's own network, and its answers are OpenVINO's within 1e-3."""
    changed = Path(shutil.copytree(repository, tmp_path / "repository"))
    config = changed / "clip_scorer" / "config.pbtxt"
    config.write_text(config.read_text().replace('"auto"', '"torch"').replace("max_batch_size: 3", "max_batch_size: 1"))
    expected = openvino_engine.score(clips[:1])
    with TritonServer(changed) as server, triton.InferenceServerClient(server.grpc_address) as client:
        answer = infer(client, clips[:1])
    np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], expected.scores, atol=1e-3, rtol=0)
    np.testing.assert_allclose(answer.as_numpy("FEATURES"), expected.features, atol=1e-3, rtol=0)
