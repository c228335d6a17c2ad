"""Files as live cameras: the real server in a process of its own, watched by FFmpeg and over raw sockets."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
import pytest
from processes import process_exists
from raw_rtsp import PATIENCE, Client, Packet, kinds, units

from deploy.camera.record import Sending
from deploy.camera.rtp import RtpStream, payloads
from deploy.camera.server import CameraError, CameraServer
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.rtsp import RtspSource

YARD_FPS = Fraction(25, 2)
YARD_FRAMES = 30  # a pass of 2.4 s
YARD_KEYS = {0, 12, 24}
YARD_TICKS = 7200  # of 90 kHz, from one picture to the next
QUICK_FPS = Fraction(50)
HEAVY_FPS = Fraction(25)

BLOCKS = 12  # a picture's number in binary, along its upper edge


def film(
    path: Path,
    frames: int,
    fps: Fraction,
    *,
    size: tuple[int, int] = (320, 180),
    every_frame_new: bool = False,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """An H.264 film with each picture's number in it, over noise that makes its key frames many packets long."""
    width, height = size
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec == "libx264":
            params = f"keyint={max(1, int(fps))}:scenecut=0:sliced-threads=0:bframes=0"
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": params, **(options or {})}
        for number in range(frames):
            picture = noise.copy()
            if every_frame_new:
                picture = np.random.default_rng(number).integers(0, 256, noise.shape, dtype=np.uint8)
            block = width // BLOCKS
            for bit in range(BLOCKS):
                picture[: height // 4, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 16
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def number_in(picture: av.VideoFrame) -> int:
    luma = picture.to_ndarray(format="gray")
    block = picture.width // BLOCKS
    return sum(int(luma[picture.height // 8, bit * block + block // 2] > 128) << bit for bit in range(BLOCKS))


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {
        "yard": film(folder / "yard.mp4", YARD_FRAMES, YARD_FPS),
        "quick": film(folder / "quick.mp4", 100, QUICK_FPS, size=(96, 64)),
        "heavy": film(folder / "heavy.mp4", 50, HEAVY_FPS, size=(640, 360), every_frame_new=True),
    }


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "cameras.log"


@pytest.fixture(scope="module")
def cameras(films: dict[str, Path], log: Path) -> Iterator[CameraServer]:
    """One server for every test that leaves it as it was; at the end it must still be the same process."""
    with CameraServer(films, log=log) as server:
        yield server
        assert server.alive(), log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def own(films: dict[str, Path], tmp_path: Path) -> Iterator[CameraServer]:
    """Not yet started; for tests that start, freeze or stop it."""
    server = CameraServer({"yard": films["yard"]}, log=tmp_path / "cameras.log")
    yield server
    server.stop(0)


@pytest.fixture(scope="module")
def yard(films: dict[str, Path]) -> list[np.ndarray]:
    """The pictures of the yard's file, decoded from the file."""
    with av.open(str(films["yard"])) as container:
        pictures = list(container.decode(video=0))
    assert [number_in(picture) for picture in pictures] == list(range(YARD_FRAMES))  # the numbers can be read
    return [picture.to_ndarray(format="yuv420p") for picture in pictures]


@dataclass(frozen=True)
class Seen:
    """A picture as a client had it."""

    number: int
    pts: int | None
    at: datetime
    picture: np.ndarray


def watch(url: str, count: int) -> list[Seen]:
    """The first pictures that FFmpeg gives of a camera."""
    seen: list[Seen] = []
    options = {"rtsp_transport": "tcp", "fpsprobesize": "0"}
    with av.open(url, options=options, timeout=PATIENCE) as container:
        for picture in container.decode(video=0):
            now = datetime.now(UTC)
            seen.append(Seen(number_in(picture), picture.pts, now, picture.to_ndarray(format="yuv420p")))
            if len(seen) == count:
                return seen
    raise AssertionError(f"the stream ended after {len(seen)} of {count} pictures")


def sendings_of(seen: list[Seen], sent: list[Sending]) -> list[Sending]:
    """The sending of each picture: an unbroken run, as late as it can be with every picture sent before it was seen."""
    for start in range(len(sent) - len(seen), -1, -1):
        run = sent[start : start + len(seen)]
        if run[0].frame == seen[0].number and all(s.at <= one.at for s, one in zip(run, seen, strict=True)):
            return run
    raise AssertionError("no run of sendings can be what was seen")


def lateness(sent: list[Sending], fps: Fraction) -> np.ndarray:
    """How late each frame went out in seconds, the first being the measure."""
    return np.array([(one.at - sent[0].at).total_seconds() - float(n / fps) for n, one in enumerate(sent)])


# What FFmpeg sees


def test_pictures_are_bit_exact_across_joins_and_loops_and_each_is_found_among_the_sendings(
    cameras: CameraServer, yard: list[np.ndarray]
) -> None:
    wait_until(lambda: len(cameras.sent("yard")) > 3, "the camera runs before anybody watches")
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as said:
            seen = watch(cameras.url("yard"), 2 * YARD_FRAMES + 5)
    finally:
        av.logging.set_level(None)
    assert said == []
    for one in seen:
        np.testing.assert_array_equal(one.picture, yard[one.number])

    assert seen[0].number in YARD_KEYS
    run = sendings_of(seen, cameras.sent("yard"))
    assert [sending.frame for sending in run] == [one.number for one in seen]
    assert run[-1].pass_ == run[0].pass_ + 2
    # FFmpeg gives its first picture no time.
    assert [one.pts for one in seen[1:]] == [seen[1].pts + k * YARD_TICKS for k in range(len(seen) - 1)]
    assert min(one.at - sending.at for one, sending in zip(seen, run, strict=True)) < timedelta(seconds=0.5)


def test_two_clients_that_join_at_different_times_see_the_same_camera(
    cameras: CameraServer, yard: list[np.ndarray]
) -> None:
    both: list[list[Seen]] = []

    def one() -> None:
        both.append(watch(cameras.url("yard"), 30))

    first, second = threading.Thread(target=one), threading.Thread(target=one)
    first.start()
    already = len(cameras.sent("yard"))
    wait_until(lambda: len(cameras.sent("yard")) > already + 15, "more frames")  # beyond the next key frame
    second.start()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert len(both) == 2
    sent = cameras.sent("yard")
    for seen in both:
        assert [one.number for one in seen] == [sending.frame for sending in sendings_of(seen, sent)]
        for picture in seen:
            np.testing.assert_array_equal(picture.picture, yard[picture.number])


def test_our_worker_reads_it_as_one_segment_across_loops(cameras: CameraServer, yard: list[np.ndarray]) -> None:
    source = RtspSource("cam", cameras.url("yard"), open_timeout_seconds=PATIENCE, read_timeout_seconds=PATIENCE)
    stop = threading.Event()
    frames: list[Frame] = []
    for item in source.frames([FrameSpec(height=112, width=112)], stop):
        if not isinstance(item, Frame):
            break
        frames.append(item)
        if len(frames) == YARD_FRAMES + 5:
            stop.set()
    assert len({frame.segment for frame in frames}) == 1
    numbers = [number_in(frame.native) for frame in frames]
    assert numbers == [(numbers[0] + k) % YARD_FRAMES for k in range(len(frames))]
    np.testing.assert_allclose(np.diff([frame.pts_seconds for frame in frames]), 1 / float(YARD_FPS), atol=1e-6)


def test_ffprobe_understands_it(cameras: CameraServer, require: Callable[[str], NoReturn]) -> None:
    program = shutil.which("ffprobe")
    if program is None:
        require("ffprobe (`make system` installs it)")
    command = [program, "-v", "warning", "-rtsp_transport", "tcp", "-of", "json"]
    command += ["-show_entries", "stream=codec_name,width,height,avg_frame_rate", cameras.url("yard")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert result.stderr == ""
    (stream,) = json.loads(result.stdout)["streams"]
    assert stream == {"codec_name": "h264", "width": 320, "height": 180, "avg_frame_rate": "25/2"}


# When it sends


def test_it_keeps_its_pace_with_nobody_watching_and_does_not_drift(cameras: CameraServer) -> None:
    wait_until(lambda: len(cameras.sent("quick")) > 250, "five seconds of frames")
    sent = cameras.sent("quick")
    assert [(one.pass_, one.frame) for one in sent] == [divmod(n, 100) for n in range(len(sent))]
    late = lateness(sent, QUICK_FPS)
    # The first frame may itself have been late; none can be earlier than its time after an earlier one was sent late.
    assert late.min() > -0.5
    # A machine with other work delays some frames, never all of fifty. 1 ms lost at each frame would make 200 ms.
    assert late[-50:].min() - late[:50].min() < 0.1


def test_frozen_it_sends_what_is_overdue_at_once_and_says_so(own: CameraServer) -> None:
    own.start()
    wait_until(lambda: len(own.sent("yard")) > 5, "frames")
    assert own.pid is not None
    os.kill(own.pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{own.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", "it is frozen")
    frozen, before = datetime.now(UTC), len(own.sent("yard"))
    time.sleep(1.5)  # 18 frames and more are due
    thawed = datetime.now(UTC)
    os.kill(own.pid, signal.SIGCONT)
    wait_until(lambda: len(own.sent("yard")) > before + 30, "frames again")
    sent = own.sent("yard")
    assert [(one.pass_, one.frame) for one in sent] == [divmod(n, YARD_FRAMES) for n in range(len(sent))]
    assert not [one for one in sent if frozen < one.at < thawed]
    late = lateness(sent, YARD_FPS)
    assert late[before] > 0.8
    assert late[before:].min() < 0.3  # it has caught up


# Over a raw socket


@pytest.fixture
def client(cameras: CameraServer) -> Iterator[Client]:
    with Client(cameras) as client:
        yield client


def test_the_description(client: Client) -> None:
    answer = client.ask("DESCRIBE", "yard", Accept="application/sdp")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/sdp"
    assert answer.headers["content-base"] == f"{client.base}yard/"
    lines = answer.body.splitlines()
    assert "a=rtpmap:96 H264/90000" in lines
    assert "a=framerate:12.5" in lines
    (format_,) = (line for line in lines if line.startswith("a=fmtp:96 "))
    parameters = dict(part.split("=", 1) for part in format_.removeprefix("a=fmtp:96 ").split(";"))
    assert parameters["packetization-mode"] == "1"
    sequence_set, picture_set = (base64.b64decode(text) for text in parameters["sprop-parameter-sets"].split(","))
    assert (sequence_set[0] & 0x1F, picture_set[0] & 0x1F) == (7, 8)
    assert bytes.fromhex(parameters["profile-level-id"]) == sequence_set[1:4]


def test_a_viewer_gets_whole_pictures_from_the_announced_key_frame_on(cameras: CameraServer, client: Client) -> None:
    answer = client.play("yard")
    assert answer.headers["session"] == f"{client.session};timeout=60"
    told = dict(part.split("=", 1) for part in answer.headers["rtp-info"].split(";"))
    pictures = [client.picture() for _ in range(30)]
    packets = [packet for picture in pictures for packet in picture]
    assert told["url"] == f"{client.base}yard/trackID=0"
    assert (int(told["seq"]), int(told["rtptime"])) == (packets[0].sequence, packets[0].timestamp)

    assert all(len(packet.payload) <= 1400 for packet in packets)
    assert len(pictures[0]) > 10  # fragments, then
    assert [packet.sequence for packet in packets] == [(packets[0].sequence + n) % 65536 for n in range(len(packets))]
    for n, picture in enumerate(pictures):
        due = (packets[0].timestamp + n * YARD_TICKS) % 2**32
        assert {packet.timestamp for packet in picture} == {due}
    keys = [kinds(picture) for picture in pictures if 5 in kinds(picture)]
    assert len(keys) >= 2
    assert all(found[:2] == [7, 8] for found in keys)
    assert kinds(pictures[0])[-1] == 5


def test_a_report_maps_the_streams_clock_to_the_wall_clock(cameras: CameraServer, client: Client) -> None:
    client.play("yard")
    picture = client.picture()
    report = client.reports[0]  # comes before the first picture
    kind, _, seconds, fraction, timestamp, packets, _ = struct.unpack(">xBH4xIIIII", report[:28])
    assert (kind, packets) == (200, 0)
    reported = seconds - 2_208_988_800 + fraction / 2**32
    of_picture = reported - ((timestamp - picture[0].timestamp) % 2**32) / 90_000  # it may have been late
    due = [one.at.timestamp() for one in cameras.sent("yard") if one.frame in YARD_KEYS]
    nearest = min(abs(at - reported) for at in due)
    assert nearest < 1e-3
    assert of_picture <= reported + 1e-3
    assert 202 in report[28:30]  # who it is from


def test_keep_alive_and_teardown(client: Client) -> None:
    client.play("yard")
    assert client.ask("GET_PARAMETER", "yard/", Session=client.session).status == 200
    assert client.ask("OPTIONS", "yard/", Session=client.session).status == 200
    client.socket.sendall(b"$\x05\x00\x08" + bytes(8))  # a receiver's report
    client.picture()
    assert client.ask("TEARDOWN", "yard/", Session=client.session).status == 200
    client.packets.clear()
    assert client.ask("GET_PARAMETER", "yard/", Session=client.session).status == 454
    assert client.ask("PLAY", "yard/", Session=client.session).status == 454
    assert client.packets == []  # nothing is sent any more
    client.play("quick")  # and the connection can be used again
    assert 5 in kinds(client.picture())


TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "garden", {}, 404),
        ("DESCRIBE", "yard/other", {}, 404),
        ("DESCRIBE", "", {}, 404),
        ("SETUP", "garden/trackID=0", {"Transport": TCP}, 404),
        ("SETUP", "yard/trackID=0", {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}, 461),
        ("SETUP", "yard/trackID=0", {}, 461),
        ("SETUP", "yard/trackID=0", {"Transport": "RTP/AVP/TCP;interleaved=300-301"}, 400),
        ("SETUP", "yard/trackID=0", {"Transport": "RTP/AVP/TCP;interleaved=x"}, 400),
        ("SETUP", "yard/trackID=0", {"Transport": TCP, "Session": "other"}, 454),
        ("PLAY", "yard/", {}, 454),
        ("PLAY", "yard/", {"Session": "other"}, 454),
        ("PLAY", "yard/", {"Session": ""}, 454),
        ("TEARDOWN", "yard/", {"Session": "other"}, 454),
        ("GET_PARAMETER", "yard/", {"Session": "other"}, 454),
        ("PAUSE", "yard/", {}, 405),
        ("RECORD", "yard/", {}, 405),
        ("FLY", "yard/", {}, 501),
        ("OPTIONS", "yard/", {}, 200),
    ],
)
def test_what_is_wrong_gets_its_status_and_the_connection_goes_on(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.ask(method, path, **headers)
    assert answer.status == status
    if status == 405:
        assert "DESCRIBE" in answer.headers["allow"]
    assert client.ask("DESCRIBE", "yard").status == 200


def test_a_session_shows_one_camera_from_now_on_only(client: Client) -> None:
    answer = client.ask("SETUP", "yard/trackID=0", Transport=f"RTP/AVP;unicast;client_port=5000-5001,{TCP}")
    assert answer.status == 200
    assert answer.headers["transport"].startswith(TCP)
    session = answer.headers["session"].split(";")[0]
    assert client.ask("SETUP", "yard/trackID=0", Transport=TCP, Session=session).status == 455
    assert client.ask("PLAY", "quick/", Session=session).status == 455
    assert client.ask("PLAY", "yard/", Session=session, Range="npt=5-").status == 457
    assert client.ask("PLAY", "yard/", Session=session, Range="clock=20200101T000000Z-").status == 457


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: many\r\n\r\n", 400),
        (b"DESCRIBE yard RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (b"DESCRIBE rtsp://[::1/yard RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505),
        (b"\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", 200),
        (b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 6\r\n\r\nFLY \r\n", 200),
    ],
)
def test_whole_but_odd_requests(client: Client, request_: bytes, status: int) -> None:
    assert client.raw(request_).status == status
    assert client.ask("OPTIONS", "yard").status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (bytes(range(128, 256)) * 4 + b"\r\n\r\n", 400),
        (b"\x16\x03\x01" + bytes(200) + b"\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\nInjected: 2\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nX: " + b"x" * 100_000, 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
    ids=["http", "noise", "tls", "no-colon", "line-feed", "huge", "negative", "huge-body"],
)
def test_what_cannot_be_understood_is_refused_and_hung_up_on(client: Client, data: bytes, status: int) -> None:
    answer = client.raw(data)
    assert answer.status == status
    assert "injected" not in answer.headers
    assert client.closed()


def test_garbage_in_the_middle_of_playing_ends_that_viewer_alone(cameras: CameraServer, client: Client) -> None:
    client.play("yard")
    client.picture()
    assert client.raw(b"nonsense\r\n\r\n").status == 400
    assert client.closed()
    with Client(cameras) as other:
        other.play("yard")
        assert 5 in kinds(other.picture())


def test_half_requests_and_clients_that_break_off_leave_nothing(cameras: CameraServer) -> None:
    assert cameras.pid is not None
    files = Path(f"/proc/{cameras.pid}/fd")
    before = len(list(files.iterdir()))
    whole = (
        b"SETUP " + cameras.url("yard").encode() + b" RTSP/1.0\r\nCSeq: 1\r\nTransport: " + TCP.encode() + b"\r\n\r\n"
    )
    for cut in range(1, len(whole), 7):
        for data in (whole[:cut], whole + b"$\x01\x00\xff" + bytes(cut)):
            with socket.create_connection(("127.0.0.1", cameras.port), timeout=PATIENCE) as broken:
                broken.sendall(data)
                if cut % 2:  # a reset instead of an orderly end
                    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: len(list(files.iterdir())) <= before, "their connections are closed")
    with Client(cameras) as client:
        assert client.ask("DESCRIBE", "yard").status == 200


def test_who_stops_reading_loses_pictures_up_to_a_key_frame_and_delays_nobody(cameras: CameraServer) -> None:
    def memory() -> int:
        status = Path(f"/proc/{cameras.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    with Client(cameras, receive_buffer=65536) as stuck, Client(cameras) as other:
        stuck.play("heavy")
        stuck.picture()
        other.play("heavy")
        pictures = [other.picture()]
        memory_before = memory()
        pictures += [other.picture() for _ in range(75)]
        size = sum(len(packet.payload) for picture in pictures for packet in picture)
        assert size > 6e6  # much more than the system's buffers hold, and than what memory may grow by
        assert memory() - memory_before < 3e6
        # The other one has them all, on time.
        stamps = [picture[0].timestamp for picture in pictures]
        assert stamps == [(stamps[0] + n * 3600) % 2**32 for n in range(len(stamps))]

        read: list[list[Packet]] = [stuck.picture()]
        while not (len(read) > 1 and (read[-1][0].timestamp - read[-2][0].timestamp) % 2**32 > 3600):
            assert len(read) < 500, "it never lost a picture"
            assert kinds(read[-1])[-1] in (1, 5)  # every one is whole
            read.append(stuck.picture())
        assert kinds(read[-1]) == [7, 8, 5] or kinds(read[-1])[:2] == [7, 8]
        packets = [packet for picture in read for packet in picture]
        assert [p.sequence for p in packets] == [(packets[0].sequence + n) % 65536 for n in range(len(packets))]
    late = lateness(cameras.sent("heavy"), HEAVY_FPS)
    assert late[-75:].min() - late[:75].min() < 0.1


def test_a_killed_client_is_forgotten(cameras: CameraServer, log: Path) -> None:
    program = (
        "import sys, av\n"
        "container = av.open(sys.argv[1], options={'rtsp_transport': 'tcp'})\n"
        "for picture in container.decode(video=0): print(picture.width, flush=True)"
    )
    client = subprocess.Popen([sys.executable, "-c", program, cameras.url("quick")], stdout=subprocess.PIPE)
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == b"96\n"
        gone = log.read_text().count("camera quick: 127.0.0.1")
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    wait_until(lambda: log.read_text().count("camera quick: 127.0.0.1") > gone, "the server says it has left")
    assert "has left" in log.read_text().splitlines()[-1]
    assert [one.number for one in watch(cameras.url("yard"), 3)]


# Its life


def test_a_taken_port_is_one_line_that_names_it(films: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = CameraServer(films, port=port)
        with pytest.raises(CameraError, match=rf"^camera server: 127\.0\.0\.1:{port}: the port is taken") as caught:
            server.start()
    assert "\n" not in str(caught.value)
    assert not server.alive()
    assert server.pid is None


def test_files_that_cannot_be_played(tmp_path: Path, films: dict[str, Path]) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video\n")
    mpeg4 = film(tmp_path / "mpeg4.mp4", 5, YARD_FPS, codec="mpeg4")
    b_frames = film(
        tmp_path / "b.mp4", 30, YARD_FPS, options={"tune": "film", "preset": "fast", "x264-params": "bframes=3"}
    )
    annex_b = film(tmp_path / "stream.h264", 5, YARD_FPS)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(films["heavy"].read_bytes()[:100_000])
    for path, why in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "cannot be read as a video: .+"),
        (text, "cannot be read as a video: .+"),
        (mpeg4, "holds mpeg4 video; expected H.264"),
        (b_frames, "has B frames, .*"),
        (annex_b, "H.264 without a header, .*"),
        (cut, "cannot be read as a video: .+"),
    ):
        server = CameraServer({"good": films["yard"], "bad": path})
        with pytest.raises(CameraError, match=rf"^camera server: camera bad: {path}: {why}$") as caught:
            server.start()
        assert "\n" not in str(caught.value)
        assert not server.alive()


def test_names_and_addresses() -> None:
    with pytest.raises(CameraError, match="no camera given"):
        CameraServer({})
    for name in ("", "a b", "a/b", "a=b", "../x", "a\n"):
        with pytest.raises(CameraError, match="cannot name a camera"):
            CameraServer({name: Path("x.mp4")})
    server = CameraServer({"cam-1": Path("x.mp4")}, host="::1", port=8554)
    assert server.url("cam-1") == "rtsp://[::1]:8554/cam-1"
    assert CameraServer({"a": Path("x.mp4")}, host="0.0.0.0", port=8554).url("a") == "rtsp://127.0.0.1:8554/a"
    assert server.sent("cam-1") == []
    for question in (server.url, server.sent):
        with pytest.raises(CameraError, match="no camera 'b'; it has cam-1"):
            question("b")


def test_a_log_that_cannot_be_written(films: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CameraError, match=r"cannot start: .*/file: .+") as caught:
        CameraServer(films, log=tmp_path / "file" / "log").start()
    assert "\n" not in str(caught.value)


def test_started_twice_and_started_again(own: CameraServer) -> None:
    own.start()
    port, url = own.port, own.url("yard")
    with pytest.raises(CameraError, match=rf"already running on 127\.0\.0\.1:{port}"):
        own.start()
    assert own.alive()
    wait_until(lambda: len(own.sent("yard")) > 15, "frames")
    own.stop()
    assert not own.alive()
    before = own.sent("yard")
    assert len(before) > 15  # a stop forgets nothing
    own.start()
    assert own.url("yard") == url
    wait_until(lambda: len(own.sent("yard")) > 0, "frames")
    again = own.sent("yard")
    assert (again[0].pass_, again[0].frame) == (0, 0)
    assert again[0].at > before[-1].at


def test_a_stop_does_not_wait_for_who_watches(own: CameraServer) -> None:
    own.start()
    pid = own.pid
    assert pid is not None
    with Client(own) as playing, Client(own) as idle:
        playing.play("yard")
        playing.picture()
        idle.socket.sendall(b"OPTIONS * RT")
        started = time.monotonic()
        own.stop(timeout=PATIENCE)
        took = time.monotonic() - started
        assert idle.closed()
    assert took < PATIENCE / 2  # the server itself gives everybody less than two seconds
    assert not process_exists(pid)
    assert own.log is not None
    assert [line.rsplit(" ", 1)[1] for line in own.log.read_text().splitlines()] == ["plays", "lost"]
    own.stop()
    assert own.pid is None


def test_a_frozen_server_is_killed_by_stop(own: CameraServer) -> None:
    own.start()
    pid = own.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    own.stop(timeout=0.3)
    assert not process_exists(pid)


def test_a_server_that_dies_is_seen_and_its_sendings_stay(own: CameraServer) -> None:
    own.start()
    wait_until(lambda: len(own.sent("yard")) > 2, "frames")
    assert own.pid is not None
    os.kill(own.pid, signal.SIGKILL)
    wait_until(lambda: not own.alive(), "it is seen")
    assert len(own.sent("yard")) > 2
    own.start()
    assert own.alive()


def test_it_dies_with_its_parent(films: dict[str, Path]) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom deploy.camera.server import CameraServer\n"
        "server = CameraServer({'yard': Path(sys.argv[1])})\nserver.start()\n"
        "print(server.pid, server.port, flush=True)\ntime.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(films["yard"])]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        assert process_exists(pid)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    try:
        wait_until(lambda: not process_exists(pid), "the server has ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # only ever there when this test fails
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


# Packets


@pytest.mark.parametrize("size", [1, 2, 1399, 1400, 1401, 1402, 2797, 2798, 100_000])
def test_a_unit_of_any_length_comes_out_as_it_went_in(size: int) -> None:
    unit = b"\x65" + bytes(n % 251 for n in range(size - 1))
    parts = list(payloads([unit]))
    assert max(map(len, parts)) <= 1400
    assert units([Packet(0, 0, False, part) for part in parts]) == [unit]


def test_the_numbers_of_packets_and_times_wrap() -> None:
    stream = RtpStream(0, 1)
    stream.sequence = 0xFFFF
    wire = stream.frame([b"\x67a", b"\x65b"], 2**32 + 5)
    heads = [struct.unpack(">BBHI", wire[at + 4 : at + 12]) for at in (0, 18)]
    assert heads == [(0x80, 96, 0xFFFF, 5), (0x80, 96 | 0x80, 0, 5)]
