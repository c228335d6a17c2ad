"""Cameras, on a real RTSP server: what they send, how they fail, how they come back."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator

import av
import numpy as np
import pytest
from ports import free_port
from watched_camera import GENEROUS_SECONDS, Watched

from pipeline.sources.base import EndReason, Frame, FrameSpec, SourceError
from pipeline.sources.decode import FramePump
from pipeline.sources.reconnect import BackoffSettings
from pipeline.sources.rtsp import RtspSource

SPEC = FrameSpec(120, 160)
#: The source's limits, for opening and for reading, where a camera falls silent. Two of them one after the other would
#: be a mistake: a busy machine may take almost as much again.
LIMIT_SECONDS = 4.0
LIMIT_AND_SLACK_SECONDS = 1.9 * LIMIT_SECONDS


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_and_times_of_a_file_over_rtsp(transport, rtsp, video, read):
    """With B-frames: every picture is the file's own at that time."""
    path = video("street.mp4", seconds=4, fps=25, options=("-bf", "3", "-g", "25"))
    expected = {round(frame.pts_seconds, 3): frame.image for frame in read(path)[0]}
    with rtsp.serve_file(path, transport=transport) as server, Watched(server.url, transport=transport) as camera:
        camera.until(lambda: camera.outages)  # told after the segment's end, unless the stop comes between the two
    frames = [frame for frame in camera.frames if frame.segment == camera.ends[0].segment]
    assert len(frames) >= 90, "of the 100, the first few fall to the start of the stream and the last to its end"
    for frame in frames:
        assert np.array_equal(frame.image, expected[round(frame.pts_seconds, 3)])
    # Of the last group, the end may come before a B-frame does that belongs in front of the last picture.
    assert np.diff([frame.pts_seconds for frame in frames])[:-4] == pytest.approx(0.04, abs=1e-4)
    assert camera.codes[0] == "stream_end"


def test_a_camera_that_offers_udp_alone(rtsp):
    with rtsp.serve_live(transport="udp") as server:
        with Watched(server.url, transport="tcp") as camera:
            camera.until(lambda: camera.outages)
            assert not camera.frames
            assert camera.codes[0] == "protocol"
            assert "does not offer tcp; try the other transport" in camera.outages[0].message
        with Watched(server.url, transport="udp") as camera:
            camera.until(lambda: len(camera.frames) >= 5)


def test_live_frames(rtsp):
    with rtsp.serve_live() as server, Watched(server.url) as camera:
        camera.until(lambda: len(camera.frames) >= 20)
        camera.finish()
        frames = camera.frames
        assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx(0.1, abs=0.02)
        assert all(frame.taken_at is not None and frame.taken_at <= frame.received_at for frame in frames)
        assert frames[0].segment.live
        assert (frames[0].native.width, frames[0].image.shape) == (320, (120, 160, 3))
        assert [end.reason for end in camera.ends] == [EndReason.SHUTDOWN]
        assert camera.codes == []
        assert camera.connected == 1


def test_resampled_live_frames(rtsp):
    with rtsp.serve_live() as server, Watched(server.url, FrameSpec(60, 80, fps=4)) as camera:
        camera.until(lambda: len(camera.frames) >= 9)
        frames = camera.frames[:9]
        assert frames[-1].pts_seconds - frames[0].pts_seconds == pytest.approx(2.0, abs=0.151)


def test_killed_and_started_again(rtsp):
    with rtsp.serve_live() as server, Watched(server.url) as camera:
        camera.until(lambda: len(camera.frames) >= 5)
        server.kill()
        camera.until(lambda: "refused" in camera.codes)
        before = len(camera.frames)
        server.start()
        camera.until(lambda: len(camera.frames) >= before + 5)
        camera.finish()
        assert camera.codes[0] == "stream_end"
        assert set(camera.codes[1:]) == {"refused"}
        first, second = camera.ends
        assert (first.reason, second.reason) == (EndReason.DISCONNECTED, EndReason.SHUTDOWN)
        assert first.segment.id != second.segment.id
        for end in (first, second):
            name, connection, ordinal = end.segment.id.split("/")
            assert (name, len(connection), ordinal) == ("gate", 32, "0")
        assert camera.connected == 2


def test_frozen_and_thawed(rtsp):
    with rtsp.serve_live() as server, Watched(server.url, limit=LIMIT_SECONDS) as camera:
        camera.until(lambda: len(camera.frames) >= 5)
        server.freeze()
        frozen_at = time.monotonic()
        camera.until(lambda: camera.outages)
        assert time.monotonic() - frozen_at < LIMIT_AND_SLACK_SECONDS, "one read limit, not two"
        camera.until(lambda: len(camera.outages) >= 2)  # opening a frozen server
        before = len(camera.frames)
        server.thaw()
        camera.until(lambda: len(camera.frames) >= before + 5)
        assert set(camera.codes) == {"timeout"}
        assert camera.ends[0].reason is EndReason.DISCONNECTED
        assert len({frame.segment.id for frame in camera.frames}) == 2


def test_a_frozen_udp_camera(rtsp):
    with (
        rtsp.serve_live(transport="udp") as server,
        Watched(server.url, transport="udp", limit=LIMIT_SECONDS) as camera,
    ):
        camera.until(lambda: len(camera.frames) >= 5)
        server.freeze()
        frozen_at = time.monotonic()
        camera.until(lambda: camera.outages)
        assert time.monotonic() - frozen_at < LIMIT_AND_SLACK_SECONDS
        assert camera.codes[0] == "timeout"


def test_another_size_is_another_segment_of_the_same_connection(rtsp):
    with rtsp.serve_live("320x240", then=("640x480", 4.0)) as server, Watched(server.url) as camera:
        camera.until(lambda: camera.frames and camera.frames[-1].native.width == 640)
        camera.finish()
        first, second = camera.ends
        assert (first.reason, second.reason) == (EndReason.SIZE_CHANGED, EndReason.SHUTDOWN)
        assert first.segment.id.rpartition("/")[0] == second.segment.id.rpartition("/")[0]
        assert [end.segment.id.rpartition("/")[2] for end in (first, second)] == ["0", "1"]
        assert {frame.native.width for frame in camera.frames if frame.segment == first.segment} == {320}
        assert {frame.image.shape for frame in camera.frames} == {(120, 160, 3)}
        assert camera.codes == []


# Reasons.


def test_nothing_listens():
    port = free_port()
    with Watched(f"rtsp://127.0.0.1:{port}/cam") as camera:
        camera.until(lambda: len(camera.outages) >= 3)
    assert set(camera.codes) == {"refused"}
    text = camera.outages[0].message
    for word in ("camera gate", f"rtsp://127.0.0.1:{port}/cam", "refused"):
        assert word in text
    assert "\n" not in text


def test_a_camera_that_never_answers(silent_port):
    started = time.monotonic()
    with Watched(f"rtsp://127.0.0.1:{silent_port}/cam", limit=LIMIT_SECONDS) as camera:
        camera.until(lambda: camera.outages)
        assert time.monotonic() - started < LIMIT_AND_SLACK_SECONDS
    assert camera.codes[0] == "timeout"


def test_no_such_host():
    with Watched("rtsp://no-such-host.invalid/cam") as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "unreachable"


def test_no_such_stream(rtsp):
    with rtsp.serve_live() as server, Watched(server.url + "era") as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "not_found"


def test_not_an_rtsp_server():
    """A web server on the camera's port, say."""

    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        with Watched(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam") as camera:
            camera.until(lambda: camera.outages)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    assert camera.codes[0] == "protocol"
    assert "answers in HTTP, not in rtsp; are scheme and port right?" in camera.outages[0].message


USER, PASSWORD = "ad@min", "s3:cr/3t %41"


def test_right_credentials(rtsp):
    """With every sign that means something in a URL, in the URL and given apart."""
    with rtsp.serve_live(user=USER, password=PASSWORD) as server:
        with Watched(server.url) as camera:
            camera.until(lambda: len(camera.frames) >= 3)
            assert camera.codes == []
        with Watched(server.bare_url, user=USER, password=PASSWORD) as camera:
            camera.until(lambda: len(camera.frames) >= 3)
            assert camera.codes == []


@pytest.mark.parametrize("credentials", [(USER, "wr0ngw0rd"), ("s0mebody", "wr0ngw0rd"), (None, None)])
def test_wrong_credentials_are_refused_and_shown_nowhere(credentials, rtsp, caplog):
    user, password = credentials
    caplog.set_level(logging.DEBUG)
    shown = io.StringIO()
    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)  # FFmpeg's own words go into its exceptions then
    try:
        with (
            rtsp.serve_live(user=USER, password=PASSWORD) as server,
            Watched(server.bare_url, user=user, password=password) as camera,
        ):
            camera.until(lambda: len(camera.outages) >= 2)
            assert set(camera.codes) == {"unauthorized"}
            print(camera.outages, repr(camera.source), camera.source.location, file=shown)
            with pytest.raises(SourceError) as caught:
                camera.source._open()
        traceback.print_exception(caught.value, file=shown)
        print(repr(caught.value), caught.value.__context__, caught.value.__cause__, file=shown)
    finally:
        av.logging.set_level(before)
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("libav")]
    text = shown.getvalue() + "\n".join(own)
    assert "refused" in text
    for secret in ("wr0ngw0rd", "s0mebody", "ad@min", "ad%40min"):
        assert secret not in text


# Stopping.


def test_a_stop_while_waiting_for_the_next_attempt():
    with Watched(f"rtsp://127.0.0.1:{free_port()}/cam", backoff=BackoffSettings(60.0, 60.0)) as camera:
        camera.until(lambda: camera.outages)
        assert camera.finish() < 20  # it would wait for 30 s at least


def test_a_stop_while_pictures_come(rtsp):
    with rtsp.serve_live() as server, Watched(server.url) as camera:
        camera.until(lambda: len(camera.frames) >= 3)
        assert camera.finish() < GENEROUS_SECONDS / 2
        assert camera.ends[-1].reason is EndReason.SHUTDOWN


def test_a_stop_while_the_camera_is_frozen(rtsp):
    with rtsp.serve_live() as server, Watched(server.url, limit=LIMIT_SECONDS) as camera:
        camera.until(lambda: len(camera.frames) >= 3)
        server.freeze()
        time.sleep(0.3)
        assert camera.finish() < LIMIT_AND_SLACK_SECONDS
        assert camera.ends[-1].reason is EndReason.SHUTDOWN
        assert camera.codes == []


def test_a_stop_while_opening(silent_port):
    with Watched(f"rtsp://127.0.0.1:{silent_port}/cam", limit=LIMIT_SECONDS) as camera:
        time.sleep(0.3)
        assert camera.finish() < LIMIT_AND_SLACK_SECONDS
        assert camera.items == []


def test_stopped_before_it_began():
    stop = threading.Event()
    stop.set()
    assert list(RtspSource("gate", f"rtsp://127.0.0.1:{free_port()}/cam").frames([SPEC], stop)) == []


def test_who_stops_listening_leaves_nothing_open(rtsp):
    """A consumer that just goes away closes the connection in its own thread."""
    with rtsp.serve_live() as server:
        source = RtspSource("gate", server.url)
        items = source.frames([SPEC], threading.Event())
        frames = list(itertools.islice(items, 3))
        items.close()
        assert all(isinstance(frame, Frame) for frame in frames)
        assert frames[0].native.to_ndarray(format="rgb24").shape == (240, 320, 3), "a frame outlives its connection"


def test_cameras_do_not_disturb_each_other(rtsp):
    """One dead, one refused, one fine: the fine one misses nothing."""
    with (
        rtsp.serve_live() as server,
        rtsp.serve_live() as dying,
        Watched(server.url) as fine,
        Watched(dying.url) as dead,
        Watched(f"rtsp://127.0.0.1:{free_port()}/cam") as refused,
    ):
        fine.until(lambda: len(fine.frames) >= 5 and dead.frames)
        dying.kill()
        fine.until(lambda: len(fine.frames) >= 25)
        assert refused.outages
        assert dead.outages
        assert fine.codes == []
        assert np.diff([frame.pts_seconds for frame in fine.frames]) == pytest.approx(0.1, abs=0.02)


def test_what_a_connection_used_is_gone_with_it(rtsp, video):
    """Decoder and scaler hold megabytes, and a decoder process hardly ever looks for circles of objects."""
    with rtsp.serve_file(video("short.mp4", seconds=1, fps=10)) as server:
        gc.collect()
        gc.disable()
        try:
            with Watched(server.url) as camera:
                camera.until(lambda: len(camera.outages) >= 4)
                # By type: isinstance asks the object behind a weak reference, which may be gone.
                kinds = [type(one) for one in gc.get_objects()]
                left = [kind.__name__ for kind in kinds if issubclass(kind, FramePump | av.VideoStream)]
        finally:
            gc.enable()
    assert left.count("FramePump") <= 1, "of the connection that is open"
    assert left.count("VideoStream") <= 1
