"""Clips in memory that is shared with a real Triton, and either side killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_clips_client
import tritonclient.grpc as triton
from shared_clips_client import score
from structlog.testing import capture_logs

from pipeline.scoring.shared_memory import FOLDER, SharedMemory
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure, TritonTransport

pytestmark = pytest.mark.realparts


@pytest.fixture(scope="module")
def server(new_server: Callable[[], Any]) -> Any:
    """A server for this module alone: every test leaves it running and healthy."""
    server = new_server()
    server.start()
    return server


@pytest.fixture
def transport(server: Any) -> Iterator[TritonTransport]:
    transport = TritonTransport(server.address, shared_clips=4)
    yield transport
    transport.close()


def clip(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shared_clips_client.SHAPE, np.uint8)


def share(kit: Any, transport: TritonTransport) -> None:
    """Have a first clip answered over gRPC, and the next ones go through shared memory."""
    assert isinstance(score(transport, clip(0)), Answer)
    kit.until(lambda: transport.shares_memory)


def registered(server: Any) -> set[str]:
    with triton.InferenceServerClient(server.address) as client:
        return set(client.get_system_shared_memory_status(client_timeout=5).regions)


def ours() -> set[str]:
    """Return the files of segments."""
    return {path.name for path in FOLDER.glob("mistwatch_clips_*")}


def next_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the next line of a client's output."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def client(server: Any, *arguments: str, shm_size: str = "") -> subprocess.Popen[str]:
    """Start a client; with ``shm_size`` it has a /dev/shm of its own, of that size."""
    command = [sys.executable, shared_clips_client.__file__, server.address, *arguments]
    if shm_size:
        private = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        mount = f"mount -t tmpfs -o size={shm_size} tmpfs /dev/shm"
        if subprocess.run([*private, mount], capture_output=True).returncode:
            pytest.skip("this machine lets no process have a /dev/shm of its own")
        command = [*private, f'{mount} && exec "$@"', "sh", *command]
    path = os.pathsep.join([str(Path.cwd()), str(Path(shared_clips_client.__file__).parent)])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


def test_scores_are_the_same_by_both_ways(kit: Any, server: Any, transport: TritonTransport) -> None:
    by_grpc = TritonTransport(server.address)
    share(kit, transport)
    for seed in range(20):
        one, other = score(transport, clip(seed)), score(by_grpc, clip(seed))
        assert isinstance(one, Answer)
        assert one == other
    assert not by_grpc.shares_memory
    by_grpc.close()


def test_a_scene_goes_beside_a_clip_in_shared_memory(kit: Any, server: Any, transport: TritonTransport) -> None:
    server.serve("with_scene", scene="background")
    try:
        share(kit, transport)
        window = kit.window("gate", 3, scene="background")
        answered, answers = threading.Event(), []
        transport.infer(
            Target("with_scene"), window.pixels, scene=window.scene, mask=None, heat=False, features=True,
            timeout_seconds=30.0, on_answer=lambda answer: (answers.append(answer), answered.set()),
        )  # fmt: skip
        assert answered.wait(60)
        assert answers[0].score == pytest.approx(kit.expected_score(window, with_scene=True), abs=1e-6)
        assert answers[0].features.shape == (4,)
    finally:
        server.unload("with_scene")


def test_many_clips_in_flight_each_have_their_own_score(kit: Any, transport: TritonTransport) -> None:
    share(kit, transport)
    wrong: list[object] = []

    def send(thread: int) -> None:
        for seed in range(40):
            pixels = clip(100 * thread + seed)
            answer = score(transport, pixels)
            if not isinstance(answer, Answer) or abs(answer.score - pixels.mean() / 255) > 1e-6:
                wrong.append(answer)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]  # more than there are slots
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_server_that_is_killed_and_started_again_shares_memory_again(kit: Any, server: Any) -> None:
    transport = TritonTransport(server.address, shared_clips=4)
    share(kit, transport)
    before = registered(server)
    answers: list[Answer | Failure] = []
    held = [
        threading.Thread(target=lambda: answers.append(score(transport, clip(1), slow=100)), daemon=True)
        for _ in range(3)
    ]
    for thread in held:
        thread.start()
    threading.Event().wait(0.3)  # until they are in flight
    server.kill()
    for thread in held:
        thread.join(60)
    assert len(answers) == 3
    assert all(isinstance(answer, Failure) for answer in answers)
    server.start()
    kit.until(lambda: isinstance(score(transport, clip(2)), Answer))
    for seed in range(3, 9):
        pixels = clip(seed)
        answer = score(transport, pixels)
        assert isinstance(answer, Answer)
        assert answer.score == pytest.approx(pixels.mean() / 255, abs=1e-6)
    kit.until(lambda: transport.shares_memory)
    assert registered(server).isdisjoint(before)
    transport.close()
    assert registered(server) == set()


def test_a_client_that_is_killed_leaves_nothing_once_the_next_one_is_there(kit: Any, server: Any) -> None:
    before = registered(server)
    process = client(server, "hold")
    try:
        assert next_line(process)["transport"] == "shared memory"
        assert next_line(process) == {"holds": True}
        (left,) = registered(server) - before
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    assert left in ours()
    with triton.InferenceServerClient(server.address) as ours_too:
        memory = SharedMemory(ours_too, server.address, slots=1, grace_seconds=3.0)  # its clip takes a second
        memory.settle(memory.place(clip(0)), answered=True)
        kit.until(lambda: left not in registered(server))
        assert left not in ours()
        memory.close()
    assert registered(server) == before
    answering = TritonTransport(server.address)
    assert isinstance(score(answering, clip(0)), Answer)
    answering.close()


def test_a_client_with_another_dev_shm_sends_its_clips_by_grpc(server: Any) -> None:
    process = client(server, shm_size="1m")
    said = next_line(process)
    assert process.wait(60) == 0
    assert said["transport"] == "gRPC"
    assert "the server does not take this machine's shared memory" in said["reason"]
    assert said["worst"] < 1e-6


def test_a_client_whose_dev_shm_is_full_sends_its_clips_by_grpc(server: Any) -> None:
    process = client(server, shm_size="8k")  # its four clips need 16 KB
    said = next_line(process)
    assert process.wait(60) == 0
    assert said["transport"] == "gRPC"
    assert "/dev/shm is full (No space left on device)" in said["reason"]
    assert said["worst"] < 1e-6


@pytest.mark.waits  # the server has half a second to answer
def test_the_end_leaves_neither_file_nor_registration(kit: Any, server: Any) -> None:
    before = registered(server), ours()
    with capture_logs() as lines:
        transport = TritonTransport(server.address, shared_clips=2)
        share(kit, transport)
        kit.until(lambda: lines)
    assert lines[0]["transport"] == "shared memory"
    transport.close()
    assert registered(server) == before[0]
    assert ours() <= before[1]
