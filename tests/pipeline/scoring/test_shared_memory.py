"""Segments, their slots and their tidying, over a scripted server; :mod:`test_shared_memory_served` has a real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tritonclient.utils import InferenceServerException

from pipeline.scoring import shared_memory
from pipeline.scoring.shared_memory import FOLDER, Segment, SharedMemory, Slot, is_own, remove_dead

SIZE = 5000  #: bytes of a clip


class ScriptedServer:
    """The calls about segments, as Triton answers them."""

    def __init__(self) -> None:
        self.regions: dict[str, int] = {}
        self.refusal = ""  # of a registration; {key} is the name that it quotes
        self.refused = 0
        self.is_frozen = False
        self.asked = threading.Event()
        self.registered = 0

    def register_system_shared_memory(self, name: str, key: str, nbytes: int, *, client_timeout: float) -> None:
        self._answer()
        assert key == f"/{name}"
        if self.refusal:
            self.refused += 1
            raise InferenceServerException(self.refusal.format(key=key))
        assert (FOLDER / name).stat().st_size == nbytes
        self.regions[name] = nbytes
        self.registered += 1

    def unregister_system_shared_memory(self, name: str, *, client_timeout: float) -> None:
        self._answer()
        self.regions.pop(name, None)

    def get_system_shared_memory_status(self, *, client_timeout: float) -> Any:
        self._answer()
        return SimpleNamespace(regions=dict(self.regions))

    def _answer(self) -> None:
        self.asked.set()
        if self.is_frozen:
            raise InferenceServerException("Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def new(server: ScriptedServer) -> Iterator[Callable[..., SharedMemory]]:
    """Makes the shared memory of a connection to the server; all are closed at the end."""
    made: list[SharedMemory] = []

    def make(address: str = "127.0.0.1:1", **options: Any) -> SharedMemory:
        made.append(SharedMemory(server, address, **{"slots": 3, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for memory in made:
        memory.close()


def clip(value: int = 0, size: int = SIZE) -> np.ndarray:
    return np.full(size, value, np.uint8)


def opened(kit: Any, memory: SharedMemory) -> SharedMemory:
    """Have a first clip go by gRPC, and its answer open the segment."""
    memory.settle(memory.place(clip()), answered=True)
    kit.until(lambda: memory.is_used)
    return memory


def content(slot: Slot) -> np.ndarray:
    """Return the bytes that the server would read."""
    with (FOLDER / slot.segment.name).open("rb") as file:
        file.seek(slot.offset)
        return np.frombuffer(file.read(slot.nbytes), np.uint8)


def placed(memory: SharedMemory, value: int = 0) -> Slot:
    slot = memory.place(clip(value))
    assert slot is not None
    return slot


# -- a segment -----------------------------------------------------------------------------------------------------


def test_a_segment_is_a_file_of_its_owner_alone_and_gone_when_it_is_unlinked() -> None:
    segment = Segment(SIZE, 3)
    file = FOLDER / segment.name
    try:
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.stat().st_size == segment.nbytes == 3 * 8192
        assert sorted(segment.take() for _ in range(3)) == [0, 8192, 16384]
        assert not segment.has_free
    finally:
        segment.unlink()
    assert not file.exists()
    segment.write(8192, clip(7))  # a request under way still has its memory
    segment.unlink()


def test_names_cannot_be_guessed() -> None:
    segments = [Segment(1, 1) for _ in range(2)]
    for segment in segments:
        segment.unlink()
    first, second = (segment.name.removeprefix("mistwatch_clips_") for segment in segments)
    assert len(first) == len(second) == 32  # 128 random bits
    assert first != second


def test_no_room_is_an_error_before_anything_is_written() -> None:
    about = os.statvfs(FOLDER)
    before = set(FOLDER.iterdir())
    with pytest.raises(OSError, match="space"):
        Segment(about.f_blocks * about.f_frsize, 2)
    assert {path for path in set(FOLDER.iterdir()) - before if path.name.startswith("mistwatch_clips_")} == set()


# -- slots ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["place", "answer", "lose"]), st.integers(0, 9)), max_size=60))
def test_a_slot_is_written_again_only_after_its_answer(steps: list[tuple[str, int]]) -> None:
    """Whatever the server has not answered still holds the clip that it was asked to score."""
    server = ScriptedServer()
    memory = SharedMemory(server, "127.0.0.1:1", slots=3)  # type: ignore[arg-type]
    waiting: list[tuple[Slot, int]] = []
    unanswered: list[tuple[Slot, int]] = []  # and never to be answered
    try:
        for value, (step, which) in enumerate(steps):
            if step == "place":
                if (slot := memory.place(clip(value))) is not None:
                    taken = {(held.segment.name, held.offset) for held, _ in waiting + unanswered}
                    assert (slot.segment.name, slot.offset) not in taken
                    waiting.append((slot, value))
                else:  # by gRPC, and answered: another segment may be opened
                    before = server.registered
                    memory.settle(None, answered=True)
                    for _ in range(500):
                        if memory.is_used or server.registered > before:
                            break
                        threading.Event().wait(0.002)
            elif waiting:
                slot, written = waiting.pop(which % len(waiting))
                if step == "lose":
                    unanswered.append((slot, written))
                memory.settle(slot, answered=step == "answer")
            for slot, written in waiting + unanswered:
                held = slot.segment._memory[slot.offset : slot.offset + SIZE]
                assert (held == written).all()
        assert len(waiting) <= 3 * server.registered
    finally:
        memory.close()
    assert not any((FOLDER / name).exists() for name in server.regions)


def test_a_clip_lies_where_the_server_reads_it(kit: Any, new: Callable[..., SharedMemory]) -> None:
    memory = opened(kit, new())
    slots = [placed(memory, value) for value in (1, 2, 3)]
    assert [content(slot).tolist() for slot in slots] == [[value] * SIZE for value in (1, 2, 3)]
    tensor = slots[1].tensor("CLIP", (SIZE,))._get_tensor()
    assert tensor.parameters["shared_memory_region"].string_param == slots[1].segment.name
    assert tensor.parameters["shared_memory_offset"].int64_param == slots[1].offset
    assert tensor.parameters["shared_memory_byte_size"].int64_param == SIZE


def test_with_all_slots_taken_a_clip_goes_by_grpc_and_one_line_says_so(
    kit: Any, new: Callable[..., SharedMemory]
) -> None:
    memory = opened(kit, new())
    slots = [placed(memory) for _ in range(3)]
    with capture_logs() as lines:
        assert memory.place(clip()) is None
        assert memory.place(clip()) is None
    assert [line["event"] for line in lines] == ["all slots of shared memory are taken; further clips go by gRPC"]
    memory.settle(slots[0], answered=True)
    assert placed(memory).offset == slots[0].offset


def test_a_segment_that_has_lost_slots_is_replaced_once_none_is_free(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    memory = opened(kit, new())
    slots = [placed(memory) for _ in range(3)]
    memory.settle(slots[0], answered=False)
    assert memory.place(clip()) is None
    assert not (FOLDER / slots[0].segment.name).exists()
    assert slots[0].segment.name in server.regions  # the server may be reading it
    memory.settle(None, answered=True)  # the clip went by gRPC
    kit.until(lambda: memory.is_used)
    assert placed(memory).segment is not slots[0].segment


def test_a_segment_has_fewer_slots_where_it_would_be_too_large(kit: Any, new: Callable[..., SharedMemory]) -> None:
    asked: list[tuple[int, int]] = []

    def create(size: int, slots: int) -> Segment:
        asked.append((size, slots))
        return Segment(1, 1)

    memory = new(slots=256, create=create)
    memory.settle(memory.place(np.zeros((16, 224, 224, 3), np.uint8)), answered=True)
    kit.until(lambda: asked)
    assert asked == [(16 * 224 * 224 * 3, 53)]  # 127.6 MB


def test_clips_of_two_sizes_have_a_segment_each(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    memory = opened(kit, new())
    memory.settle(memory.place(clip(size=2 * SIZE)), answered=True)
    kit.until(lambda: server.registered == 2)
    kit.until(lambda: (slot := memory.place(clip(size=2 * SIZE))) is not None and slot.nbytes == 2 * SIZE)
    assert placed(memory).nbytes == SIZE


# -- when it is used -----------------------------------------------------------------------------------------------


def test_the_way_is_logged_once(kit: Any, new: Callable[..., SharedMemory]) -> None:
    with capture_logs() as lines:
        opened(kit, memory := new())
        kit.until(lambda: lines)
        slot = placed(memory)
        assert memory.is_unknown(slot, Exception(f"Unable to find shared memory region: '{slot.segment.name}'"))
        opened(kit, memory)  # the server was restarted: the same way as before
    assert [(line["transport"], line["reason"]) for line in lines] == [
        ("shared memory", "the server runs on this machine")
    ]


def test_a_server_elsewhere_is_asked_nothing(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    memory = new("192.0.2.1:8001")  # an address reserved for documents
    with capture_logs() as lines:
        memory.settle(memory.place(clip()), answered=True)
        kit.until(lambda: lines)
    assert (lines[0]["transport"], lines[0]["reason"]) == ("gRPC", "the server is on another machine")
    assert memory.place(clip()) is None
    assert not server.asked.is_set()


def test_nothing_is_tried_before_the_server_has_answered(
    server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    memory = new()
    memory.settle(memory.place(clip()), answered=False)
    assert not server.asked.wait(0.1)


def test_a_refused_registration_leaves_clips_to_grpc_and_is_tried_again(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    server.refusal = "Unable to open shared memory region: '{key}'"
    memory = new(retry_seconds=0.05)
    with capture_logs() as lines:
        memory.settle(memory.place(clip()), answered=True)
        kit.until(lambda: lines)
        assert memory.place(clip()) is None
        kit.until(lambda: server.refused > 2)
        assert len(lines) == 1, "each try has another name"
        server.refusal = ""
        memory.settle(None, answered=True)
        kit.until(lambda: memory.is_used)
        kit.until(lambda: len(lines) > 1)
    assert [line["transport"] for line in lines] == ["gRPC", "shared memory"]
    assert lines[0]["reason"] == (
        "the server does not take this machine's shared memory "
        "(Unable to open shared memory region: '/mistwatch_clips_...')"
    )


def test_a_name_that_cannot_be_resolved_now_is_tried_again(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, failures = socket.getaddrinfo, iter([socket.EAI_AGAIN, socket.EAI_NONAME])

    def fail_first(*where: Any, **options: Any) -> Any:
        for code in failures:
            raise socket.gaierror(code, "Temporary failure in name resolution")
        return resolve(*where, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fail_first)
    with capture_logs() as lines:
        memory = opened(kit, new("localhost:1", retry_seconds=0.05))
        kit.until(lambda: len(lines) > 1)
    assert memory.is_used
    assert [(line["transport"], line["reason"]) for line in lines] == [
        ("gRPC", "the server's name cannot be resolved (Temporary failure in name resolution)"),
        ("shared memory", "the server runs on this machine"),
    ]


def test_a_full_folder_leaves_clips_to_grpc_with_a_warning(kit: Any, new: Callable[..., SharedMemory]) -> None:
    about = os.statvfs(FOLDER)
    memory = new(create=lambda _size, slots: Segment(about.f_blocks * about.f_frsize, slots))
    with capture_logs() as lines:
        memory.settle(memory.place(clip()), answered=True)
        kit.until(lambda: lines)
    assert memory.place(clip()) is None
    assert (lines[0]["log_level"], lines[0]["transport"]) == ("warning", "gRPC")
    assert "/dev/shm is full (No space left on device); clips in flight need" in lines[0]["reason"]


def test_only_an_error_about_its_own_segment_is_a_refusal(kit: Any, new: Callable[..., SharedMemory]) -> None:
    memory = opened(kit, new())
    slot = placed(memory)
    assert not memory.is_unknown(slot, Exception("Failed to increase the shared memory pool size"))
    assert not memory.is_unknown(None, Exception("Unable to find shared memory region: 'x'"))
    assert memory.is_used


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8001", True),
        ("127.8.9.10:8001", True),
        ("localhost:8001", True),
        ("unix:/run/triton.sock", True),
        ("192.0.2.1:8001", False),
        ("[2001:db8::1]:8001", False),
        (f"{'x' * 70}.invalid:8001", False),
    ],
)
def test_own_addresses(address: str, expected: bool) -> None:
    assert is_own(address) is expected


def test_a_name_without_an_address_says_nothing_about_the_machine() -> None:
    with pytest.raises(socket.gaierror):
        is_own("no-such-host.invalid:8001")


# -- what is left behind -------------------------------------------------------------------------------------------


def test_files_of_dead_processes_are_deleted_and_no_others() -> None:
    program = (
        "import time; from pipeline.scoring.shared_memory import Segment\n"
        "segment = Segment(1, 1); print(segment.name, flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    dead = FOLDER / other.stdout.readline().strip()
    link = FOLDER / f"mistwatch_clips_{0:032x}"
    strange = FOLDER / "mistwatch_clips_of_another_kind"
    link.symlink_to(__file__)
    strange.touch()
    living = Segment(1, 1)
    try:
        remove_dead()
        assert dead.exists()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert dead.exists()
        remove_dead()
        assert not dead.exists()
        assert (FOLDER / living.name).exists()
        assert link.is_symlink()
        assert strange.exists()
        assert Path(__file__).exists()
    finally:
        other.kill()
        living.unlink()
        link.unlink()
        strange.unlink()
    remove_dead(FOLDER / "none")  # no such folder: nothing to do


def test_a_segment_without_a_file_is_unregistered_when_the_server_has_had_its_time(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(shared_memory.time, "monotonic", lambda: now[0])
    living = Segment(1, 1)
    dead = f"mistwatch_clips_{1:032x}"
    server.regions |= {dead: 1, living.name: 1, "of_another_program": 1}
    memory = new(grace_seconds=60.0)
    try:
        assert not memory._tidy()
        now[0] += 59
        assert not memory._tidy()
        server.is_frozen = True
        now[0] += 60
        assert not memory._tidy()  # frozen: its requests wait as well, and it needs the time anew
        server.is_frozen = False
        assert not memory._tidy()
        now[0] += 59
        assert not memory._tidy()
        assert dead in server.regions
        now[0] += 1
        assert memory._tidy()
        assert server.regions == {living.name: 1, "of_another_program": 1}
    finally:
        living.unlink()


def test_a_dead_clients_segment_is_unregistered_by_the_thread(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    dead = f"mistwatch_clips_{1:032x}"
    server.regions[dead] = 1
    opened(kit, new(grace_seconds=0.2))
    kit.until(lambda: dead not in server.regions)
    assert len(server.regions) == 1


def test_the_end_unregisters_an_idle_segment_and_deletes_each(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    idle, busy = opened(kit, new()), opened(kit, new())
    idle.settle(placed(idle), answered=True)
    slot = placed(busy)
    names = set(server.regions)
    idle.close()
    busy.close()
    assert server.regions.keys() == {slot.segment.name}  # the server may be reading it
    assert not any((FOLDER / name).exists() for name in names)
    assert busy.place(clip()) is None
    busy.settle(slot, answered=True)


def test_the_end_does_not_wait_for_a_frozen_server(
    kit: Any, server: ScriptedServer, new: Callable[..., SharedMemory]
) -> None:
    memory = opened(kit, new())
    server.is_frozen = True
    memory.close()
    assert not any((FOLDER / name).exists() for name in server.regions)
