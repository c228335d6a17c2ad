"""Sources in decoder processes: frames come as they are, and a crash stays with its camera."""

from __future__ import annotations

import os
import pickle
import platform
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from crashing_sources import (
    SlowToEndSource,
    abort,
    counting,
    crash_by,
    eat,
    fail,
    forging_films,
    hang,
    leave,
    open_film,
    open_growing,
    open_slow_to_end,
    refuse,
    segfault,
    swell,
    talkative,
)
from tiny_films import damage

from pipeline.sources.arrival import StampFault, StampReport
from pipeline.sources.base import EndReason, Fit, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.factory import SourceCallbacks, SourceOptions
from pipeline.sources.files import FileSource
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.isolation.host import CameraRequest, run_host
from pipeline.sources.isolation.pool import DecoderPool, receive
from pipeline.sources.isolation.ring import create_memory
from pipeline.sources.isolation.source import IsolatedSource, open_contained
from pipeline.sources.reconnect import BackoffSettings, Outage
from pipeline.sources.scale import upright

SMALL = FrameSpec(32, 48)
WIDE = FrameSpec(40, 40, Fit.CROP, 5.0)
SOON = BackoffSettings(first=0.01, longest=0.02)
#: A machine with much else to do is slow to start a process. Seconds.
LONG = 120.0


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(memory_mb=1000)
    yield pool
    pool.close()


def until(condition: Callable[[], object], seconds: float = LONG) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_frames_come_as_the_source_has_them(pool: DecoderPool) -> None:
    source = IsolatedSource("gate", counting("gate", 20, None), pool)
    same_size = FrameSpec(32, 48, fps=5.0)
    items = list(source.frames([SMALL, WIDE, same_size], threading.Event()))
    frames = [item for item in items if isinstance(item, Frame)]
    assert [int(frame.images[SMALL][0, 0, 0]) for frame in frames] == list(range(20))
    for number, frame in enumerate(frames):
        assert frame.pts_seconds == number / 10
        assert frame.segment is frames[0].segment
        assert frame.segment.live
        assert frame.images[SMALL].shape == (32, 48, 3)
        assert frame.images[WIDE].shape == (40, 40, 3)
        assert (frame.images[WIDE] == number).all()
        assert frame.images[SMALL] is frame.images[same_size], "specs of one size share one array"
        assert (frame.native.to_ndarray(format="rgb24") == number).all()
        assert frame.native.time == number / 10
        assert frame.taken_at == frame.received_at
        assert abs(frame.arrived_at - time.monotonic()) < LONG
    assert items[-1] == SegmentOver(frames[0].segment, EndReason.SHUTDOWN)
    assert len(items) == 21


def read(source: FileSource | IsolatedSource, specs: list[FrameSpec]) -> list[Frame]:
    items = source.frames(specs, threading.Event())
    return [item for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize("is_turned", [False, True])
def test_decoded_pictures_are_the_same_bytes(
    is_turned: bool, video: Callable[[str], Path], tmp_path: Path, pool: DecoderPool
) -> None:
    """A film on both sides: scaled pictures bit for bit, and the native ones upright."""
    content = bytearray(video("plain.mp4").read_bytes())
    if is_turned:  # by the matrix in the header of its track (ISO/IEC 14496-12, 8.3.2)
        at = content.index(b"tkhd") + 4 + 40
        content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    here = read(FileSource("gate", path), [SMALL])
    there = read(IsolatedSource("gate", partial(open_film, path), pool), [SMALL])
    assert len(here) == len(there) > 5
    for one, other in zip(here, there, strict=True):
        assert (one.images[SMALL] == other.images[SMALL]).all()
        assert one.pts_seconds == other.pts_seconds
        expected, found = upright(one.native), other.native
        assert (found.width, found.height, found.format.name) == (expected.width, expected.height, expected.format.name)
        assert (found.to_ndarray() == expected.to_ndarray()).all()
        assert (found.colorspace, found.color_range) == (expected.colorspace, expected.color_range)
        assert (found.pts, found.time_base) == (expected.pts, expected.time_base)


def test_pictures_that_the_decoder_has_marked_as_damaged(
    ffmpeg: Callable[..., bytes], tmp_path: Path, pool: DecoderPool
) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    moving = "testsrc2=size=160x120:rate=10:duration=3"
    ffmpeg("-f", "lavfi", "-i", moving, "-c:v", "libx264", "-bf", "0", "-g", "5", "-pix_fmt", "yuv420p", whole)
    damage(whole, path, [3, 12], keep=100)
    here = [frame.is_corrupt for frame in read(FileSource("gate", path), [SMALL])]
    there = [frame.is_corrupt for frame in read(IsolatedSource("gate", partial(open_film, path), pool), [SMALL])]
    assert here.count(True) == 2
    assert there == here


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (segfault, "SIGSEGV"),
        (abort, "SIGABRT"),
        (partial(crash_by, signal.SIGBUS), "SIGBUS"),
        (partial(crash_by, signal.SIGKILL), "SIGKILL"),
        (leave, "status 3"),
        (eat, "memory limit"),
    ],
)
def test_a_crash_is_an_outage_of_its_camera(ending: Callable[[], None], says: str, pool: DecoderPool) -> None:
    outages: list[Outage] = []
    connected: list[str] = []
    callbacks = SourceCallbacks(on_outage=outages.append, on_connected=connected.append)
    source = IsolatedSource("gate", counting("gate", 5, ending), pool, callbacks, backoff=SOON)
    stop = threading.Event()
    items = []
    for item in source.frames([SMALL], stop):
        items.append(item)
        if len(outages) == 2 and isinstance(item, Frame):
            stop.set()
    frames = [item for item in items if isinstance(item, Frame)]
    ends = [item for item in items if isinstance(item, SegmentOver)]
    assert [int(frame.image[0, 0, 0]) for frame in frames[:10]] == [0, 1, 2, 3, 4] * 2, "nothing sent is lost"
    assert [end.reason for end in ends] == [EndReason.ERROR, EndReason.ERROR, EndReason.SHUTDOWN]
    assert len({end.segment.id for end in ends}) == 3, "a segment for each process"
    assert [outage.code for outage in outages] == ["decoder_crashed"] * 2
    assert says in outages[0].message
    assert "camera gate" in outages[0].message
    assert "\n" not in outages[0].message
    assert len(connected) == 3


def test_what_a_crashed_process_had_sent_is_read() -> None:
    """Linux resets the connection of a process that ends with packets unread, before the peer has read its own."""
    mine, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine:
        with others:
            mine.send(b"unread")
            others.send(b"first")
            others.send(b"second")
        assert [receive(mine) for _ in range(4)] == [b"first", b"second", b"", b""]


def test_a_source_that_hangs_is_ended(pool: DecoderPool) -> None:
    outages: list[Outage] = []
    source = IsolatedSource(
        "gate", counting("gate", 2, hang), pool, SourceCallbacks(on_outage=outages.append), silence_seconds=1.0
    )
    stop = threading.Event()
    for _ in source.frames([SMALL], stop):
        if pool.pids():
            hung = pool.pids()[0]
        if outages:
            stop.set()
    assert "SIGKILL" in outages[0].message
    until(lambda: not is_running(hung))


def test_failures_of_the_source_itself_pass(pool: DecoderPool) -> None:
    with pytest.raises(SourceError, match="no such thing") as refused:
        list(IsolatedSource("gate", counting("gate", 1, refuse), pool).frames([SMALL], threading.Event()))
    assert refused.value.code == "usage"
    with pytest.raises(RuntimeError, match="KeyError: 'a bug of the source'"):
        list(IsolatedSource("gate", counting("gate", 1, fail), pool).frames([SMALL], threading.Event()))


def test_calls_pass_with_their_arguments(pool: DecoderPool) -> None:
    calls: list[object] = []
    callbacks = SourceCallbacks(on_outage=calls.append, on_stamps=calls.append, on_choice=calls.append)
    list(IsolatedSource("gate", talkative("gate"), pool, callbacks).frames([SMALL], threading.Event()))
    assert calls == [
        Outage("gate", "timeout", "no answer", 1.5),
        StampReport("gate", StampFault.STRAY, "a stray"),
        "the first of two",
    ]


def test_a_report_of_a_film_that_was_never_ordered_is_garbage_and_reaches_no_callback(pool: DecoderPool) -> None:
    outages: list[Outage] = []
    films: list[FilmReport] = []
    stop = threading.Event()

    def take(outage: Outage) -> None:
        outages.append(outage)
        stop.set()

    callbacks = SourceCallbacks(on_outage=take, on_film=films.append)
    list(IsolatedSource("gate", forging_films("gate"), pool, callbacks, backoff=SOON).frames([SMALL], stop))
    assert outages[0].code == "decoder_crashed"
    assert "garbage" in outages[0].message
    assert films == []


def test_a_source_without_packets_answers_that_it_cannot_be_filmed(pool: DecoderPool, tmp_path: Path) -> None:
    films: list[FilmReport] = []
    callbacks = SourceCallbacks(on_film=films.append)
    source = IsolatedSource("gate", counting("gate", 10**9, None, fps=50.0), pool, callbacks)
    order = FilmOrder(1, "s", 0.0, 1.0, 1.0, 60.0, 1000)
    stop = threading.Event()
    with (tmp_path / "film").open("wb") as file:
        source.begin_film(order, file.fileno())  # before there is a process
        assert films == [FilmReport("gate", 1, FilmState.FAILED, problem=FilmProblem.DECODER)]
        is_ordered = False
        for _ in source.frames([SMALL], stop):
            if not is_ordered:
                is_ordered = True
                source.begin_film(FilmOrder(2, "s", 0.0, 1.0, 1.0, 60.0, 1000), file.fileno())
                source.end_film(FilmEnd(2, "s", 1.0))
            if len(films) == 2:
                stop.set()
    assert films[1] == FilmReport("gate", 2, FilmState.FAILED, problem=FilmProblem.CODEC)
    assert (tmp_path / "film").stat().st_size == 0


def test_a_stop_ends_the_process_and_closes_the_segment(pool: DecoderPool) -> None:
    source = IsolatedSource("gate", counting("gate", 10**9, None, fps=50.0), pool)
    stop = threading.Event()
    items = []
    for item in source.frames([SMALL], stop):
        items.append(item)
        if len(items) == 5:
            (pid,) = pool.pids()
            stop.set()
    assert isinstance(items[-1], SegmentOver)
    assert items[-1].reason is EndReason.SHUTDOWN
    until(lambda: not is_running(pid))
    until(lambda: not pool.pids())


def test_a_process_ends_after_the_sources_that_its_worker_has_left() -> None:
    """The source still says goodbye to its camera (TEARDOWN), which would keep the session for a minute."""
    worker, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = create_memory()
    request = CameraRequest("gate", open_slow_to_end, [SMALL])
    socket.send_fds(worker, [pickle.dumps(request)], [its.fileno(), memory])
    os.close(memory)
    its.close()
    host = threading.Thread(target=run_host, args=(control,), daemon=True)
    host.start()
    mine.close()
    assert SlowToEndSource.noticed.wait(LONG)
    worker.close()
    host.join(1.0)
    assert host.is_alive()
    SlowToEndSource.may_leave.set()
    host.join(LONG)
    assert not host.is_alive()
    assert SlowToEndSource.left.is_set()
    control.close()


def test_a_slow_consumer_holds_the_source_up_and_loses_nothing(pool: DecoderPool) -> None:
    numbers = []
    for item in IsolatedSource("gate", counting("gate", 60, None), pool).frames([SMALL], threading.Event()):
        if isinstance(item, Frame):
            numbers.append(int(item.image[0, 0, 0]))
            time.sleep(0.01)
    assert numbers == list(range(60))


def test_a_decoder_has_no_settings_of_the_site(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTWATCH_KAFKA__SECURITY__PASSWORD", "s3cr3t-w0rd")
    monkeypatch.setenv("mistwatch_cameras__gate__password", "s3cr3t-w0rd")
    stop = threading.Event()
    frames = IsolatedSource("gate", counting("gate", 10**9, None, fps=20.0), pool).frames([SMALL], stop)
    next(frames)
    assert pool.server_pid is not None
    for pid in (pool.server_pid, *pool.pids()):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PYTHONPATH=" in environment
        assert b"s3cr3t-w0rd" not in environment
    stop.set()
    list(frames)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="limits of glibc's allocator; this C library is another")
def test_a_large_block_that_a_decoder_gives_back_is_not_kept(pool: DecoderPool) -> None:
    with pytest.raises(SourceError) as kept:
        read(IsolatedSource("gate", counting("gate", 1, swell), pool), [SMALL])
    assert int(str(kept.value)) < 8_000  # of 24 MB


def test_pictures_may_grow(pool: DecoderPool) -> None:
    """A second connection with larger pictures, in another process, and larger pictures in one process."""
    for size in ((64, 48), (1920, 1080)):
        frames = read(IsolatedSource("gate", counting("gate", 4, None, size=size), pool), [SMALL])
        assert [(frame.native.width, frame.native.height) for frame in frames] == [size] * 4
    frames = read(IsolatedSource("gate", open_growing, pool), [SMALL])
    assert [frame.native.width for frame in frames] == [64, 64, 640, 640, 1280, 1280]
    assert all((frame.native.to_ndarray(format="rgb24") == n % 2).all() for n, frame in enumerate(frames))


def test_a_dead_fork_server_is_replaced(pool: DecoderPool) -> None:
    outages: list[Outage] = []
    source = IsolatedSource(
        "gate",
        counting("gate", 10**9, None, fps=50.0),
        pool,
        SourceCallbacks(on_outage=outages.append),
        backoff=SOON,
    )
    stop = threading.Event()
    killed = None
    for item in source.frames([SMALL], stop):
        if killed is None:
            (pid,) = pool.pids()
            assert pool.server_pid is not None
            killed = pool.server_pid
            os.kill(killed, signal.SIGKILL)
        elif outages and isinstance(item, Frame):
            stop.set()
    assert outages[0].code == "decoder_crashed"
    assert pool.server_pid != killed
    until(lambda: not is_running(pid))


def test_processes_end_with_a_killed_worker(tmp_path: Path) -> None:
    """SIGKILL of the worker: decoders, fork server and shared memory are gone."""
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent("""
            import threading, time
            from crashing_sources import counting
            from pipeline.sources.base import FrameSpec
            from pipeline.sources.isolation.pool import DecoderPool
            from pipeline.sources.isolation.source import IsolatedSource
            pool = DecoderPool()
            frames = IsolatedSource("gate", counting("gate", 10**9, None, fps=20.0), pool).frames(
                [FrameSpec(32, 32)], threading.Event())
            next(frames)
            print(pool.server_pid, *pool.pids(), flush=True)
            for _ in frames:
                pass
        """)
    )
    path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
    worker = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        assert worker.stdout is not None
        pids = [int(text) for text in worker.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
    finally:
        worker.kill()
        worker.wait()
    until(lambda: not any(map(is_running, pids)))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_behind(pool: DecoderPool) -> None:
    """Descriptors, threads and processes after many crashes are those after one."""
    counts = []
    outages: list[Outage] = []
    source = IsolatedSource(
        "gate", counting("gate", 2, segfault), pool, SourceCallbacks(on_outage=outages.append), backoff=SOON
    )
    stop = threading.Event()
    for _ in source.frames([SMALL], stop):
        if len(outages) in (2, 12):
            counts.append((open_descriptors(), threading.active_count()))
        if len(outages) == 12:
            stop.set()
    assert all(after <= before + 5 for before, after in zip(counts[0], counts[-1], strict=True)), "of ten crashes"
    until(lambda: not pool.pids())
    assert pool.server_pid is not None
    children = Path(f"/proc/{pool.server_pid}/task/{pool.server_pid}/children").read_text().split()
    assert children == [], "neither zombies nor orphans"


@pytest.mark.slow
def test_32_cameras_of_which_one_crashes_all_the_time(pool: DecoderPool) -> None:
    """The others have every picture, in their order, in one segment and one process."""
    crashes: list[Outage] = []
    stop = threading.Event()
    steady = 60
    seen: dict[str, list[int]] = {f"camera-{number}": [] for number in range(31)}
    outages: list[Outage] = []

    def watch(name: str) -> None:
        opening = counting(name, steady, None, fps=5.0)
        source = IsolatedSource(name, opening, pool, SourceCallbacks(on_outage=outages.append))
        for item in source.frames([SMALL], threading.Event()):
            if isinstance(item, Frame):
                seen[name].append(int(item.image[0, 0, 0]))

    def crash() -> None:
        source = IsolatedSource(
            "bad", counting("bad", 1, segfault), pool, SourceCallbacks(on_outage=crashes.append), backoff=SOON
        )
        for _ in source.frames([SMALL], stop):
            pass

    bad = threading.Thread(target=crash)
    bad.start()
    threads = [threading.Thread(target=watch, args=(name,)) for name in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * LONG)
    stop.set()
    bad.join(LONG)
    assert not bad.is_alive()
    assert all(numbers == list(range(steady)) for numbers in seen.values())
    assert outages == []
    assert len(crashes) >= 10
    assert {one.code for one in crashes} == {"decoder_crashed"}


def test_recordings_and_scenes_stay_in_the_worker(video: Callable[[str], Path], pool: DecoderPool) -> None:
    options, callbacks = SourceOptions(), SourceCallbacks()
    assert isinstance(open_contained("gate", str(video("plain.mp4")), options, callbacks, pool=pool), FileSource)
    assert not isinstance(
        open_contained("gate", "synthetic://courtyard", options, callbacks, pool=pool), IsolatedSource
    )
    camera = "rtsp://127.0.0.1:1/cam"
    assert isinstance(open_contained("gate", camera, options, callbacks, pool=pool), IsolatedSource)
    assert not isinstance(open_contained("gate", camera, options, callbacks, pool=None), IsolatedSource)
    assert pool.server_pid is None, "no process before the first frame is asked for"
    with pytest.raises(SourceError, match="unknown kind"):
        open_contained("gate", "gopher://x", options, callbacks, pool=pool)
