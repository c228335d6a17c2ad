"""Streams and pictures behind a web server: what comes, at which times, and every way in which it can fail."""

from __future__ import annotations

import io
import itertools
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from odd_camera import OddCamera
from ports import free_port
from watched_camera import Watched
from web_camera import Page, WebCamera, at_rate

from pipeline.sources.base import EndReason, FrameSpec, SourceError
from pipeline.sources.certificates import CameraTls
from pipeline.sources.http import HttpSource, SnapshotSource

Stream = partial(Watched, kind=HttpSource)


Snapshots = partial(Watched, kind=SnapshotSource, every_seconds=0.2)


def jpeg(number: int) -> bytes:
    """A grey picture; its grey is 10 more for each number, so that the number can be read from it."""
    return jpeg_of(np.full((120, 160, 3), number * 10 % 250, np.uint8))


def detailed_jpeg() -> bytes:
    """A picture of noise, and so of many kilobytes."""
    return jpeg_of(np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8))


def jpeg_of(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="image2pipe") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
        for packet in [*stream.encode(picture), *stream.encode()]:
            container.mux(packet)
    return out.getvalue()


def number_in(image: np.ndarray) -> int:
    return round(float(image.mean()) / 10)


@pytest.fixture
def film(video) -> Path:
    """Three seconds of 10 pictures a second, in MPEG-TS: it can be played as it comes."""
    return video("street.ts", seconds=3, options=("-bf", "0", "-g", "10"))


@pytest.fixture
def playlist(ffmpeg, film, tmp_path) -> Path:
    """The same film as an HLS playlist of three segments."""
    path = tmp_path / "live.m3u8"
    ffmpeg("-i", film, "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", path)
    return path


def serve(server: WebCamera, folder: Path) -> None:
    for file in folder.iterdir():
        kind = "application/vnd.apple.mpegurl" if file.suffix == ".m3u8" else "video/mp2t"
        server.pages[f"/{file.name}"] = Page(file.read_bytes(), kind)


# What comes, and when.


def test_a_film_is_played_at_the_pace_of_its_own_clock_and_then_again(film, read):
    """It is not read as fast as it comes, or clips would be dropped."""
    expected = read(film)[0]
    with WebCamera() as server:
        server.pages["/street.ts"] = Page(film.read_bytes(), "video/mp2t")
        with Stream(server.url("/street.ts")) as camera:
            camera.until(lambda: len(camera.ends) >= 2)
    first = [frame for frame in camera.frames if frame.segment == camera.ends[0].segment]
    assert [frame.pts_seconds for frame in first] == [frame.pts_seconds for frame in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, expected, strict=True))
    took = (first[-1].received_at - first[0].received_at).total_seconds()
    assert took >= 2.9 / 1.02 - 0.5, "2.9 s from the first picture to the last; half a second may be made up for"
    assert camera.codes[0] == "stream_end"
    assert [end.reason for end in camera.ends[:2]] == [EndReason.DISCONNECTED] * 2
    assert camera.connected >= 2


def test_a_playlist_is_played_at_the_pace_of_its_own_clock(playlist):
    with WebCamera() as server:
        serve(server, playlist.parent)
        with Stream(server.url("/live.m3u8")) as camera:
            camera.until(lambda: camera.outages)
    first = [frame for frame in camera.frames if frame.segment == camera.ends[0].segment]
    assert len(first) == 30
    assert np.diff([frame.pts_seconds for frame in first]) == pytest.approx(0.1, abs=0.001)
    assert (first[-1].received_at - first[0].received_at).total_seconds() >= 2.9 / 1.02 - 0.5
    assert camera.codes[0] == "stream_end"


def test_segments_of_a_playlist_are_named_as_the_server_likes(playlist):
    text = playlist.read_text()
    with WebCamera() as server:
        for number in range(3):
            segment = playlist.with_name(f"live{number}.ts")
            path = ("/segment?id=0", "/1", "/2.php")[number]
            server.pages[path.partition("?")[0]] = Page(segment.read_bytes(), "video/mp2t")
            text = text.replace(segment.name, path)
        server.pages["/live"] = Page(text.encode(), "application/vnd.apple.mpegurl")
        with Stream(server.url("/live")) as camera:
            camera.until(lambda: camera.outages)
    assert len([frame for frame in camera.frames if frame.segment == camera.ends[0].segment]) == 30
    assert camera.codes[0] == "stream_end"


def test_multipart_mjpeg_has_the_times_of_its_arrival():
    """FFmpeg would make 25 pictures a second of it.

    The first pictures wait in FFmpeg until it knows the format. Then each is sent some time after the one before has
    come: it cannot arrive before it is sent, nor after it has been seen.
    """
    pause, rounds = 0.7, 4
    started = threading.Event()
    sent: list[float] = []
    seen: list[float] = []  # in the rounds, as sent[-rounds:]

    def send(number: int) -> bytes:
        sent.append(time.monotonic())
        return jpeg(number)

    def pictures() -> Iterator[bytes]:
        numbers = itertools.count()
        started.wait(60)  # the stream asks as soon as it is made, before it has a name here
        while not camera.frames:
            yield send(next(numbers))
            server.stopping.wait(0.1)
        for _ in range(rounds):
            camera.until(lambda: len(camera.frames) == len(sent))
            server.stopping.wait(pause)
            yield send(next(numbers))
            camera.until(lambda: len(camera.frames) == len(sent))
            seen.append(time.monotonic())
        server.stopping.wait(60)

    with WebCamera() as server:
        server.pages["/mjpeg"] = server.multipart(pictures)
        with Stream(server.url("/mjpeg")) as camera:
            started.set()
            camera.until(lambda: len(seen) == rounds)
            camera.stop.set()
            server.stopping.set()
            camera.finish()
        assert camera.codes == []
    times = [frame.pts_seconds for frame in camera.frames]
    assert [number_in(frame.image) for frame in camera.frames] == [number % 25 for number in range(len(sent))]
    assert times[0] == 0
    assert min(np.diff(times)) > 0
    for at in range(-rounds, 0):
        assert times[at] - times[at - 1] >= pause
        assert times[at] - times[at - 1] <= seen[at] - sent[at - 1]
    assert camera.ends[-1].reason is EndReason.SHUTDOWN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"--picture\r\nContent-Type: image/jpg\r\n\r\n", b"\r\n"),
        (b"--picture\r\nContent-Type: image/jpeg;size=9\r\n\r\n", b"\r\n"),
        (b"", b"\r\n--picture\r\nContent-Type: image/jpeg\r\n\r\n"),
    ],
)
def test_multipart_as_ffmpeg_does_not_take_it(before, after):
    """The types of some cameras' parts, and a stream that begins without a boundary."""

    def parts() -> Iterator[bytes]:
        for picture in at_rate(jpeg, 10):
            if server.stopping.is_set():
                return
            yield before + picture + after

    with WebCamera() as server:
        server.pages["/mjpeg"] = Page(parts, "multipart/x-mixed-replace; boundary=picture")
        with Stream(server.url("/mjpeg")) as camera:
            camera.until(lambda: len(camera.frames) >= 12)
            camera.stop.set()
            server.stopping.set()
            camera.finish()
        assert camera.codes == []
    assert [number_in(frame.image) for frame in camera.frames[:12]] == list(range(12))
    assert camera.connected == 1


def test_snapshots_are_fetched_at_their_interval():
    """Each picture comes after it has been asked for, and before the next one is."""
    asked: list[float] = []

    def page() -> Page:
        asked.append(time.monotonic())
        return Page(jpeg(len(asked) - 1), "image/jpeg")

    with WebCamera() as server:
        server.pages["/snap.jpg"] = page
        began = time.monotonic()
        with Snapshots(server.url("/snap.jpg"), every_seconds=0.25) as camera:
            camera.until(lambda: len(asked) >= 9)
            camera.finish()
        assert camera.codes == []
        assert camera.connected == 1
    for number, at in enumerate(asked):
        assert number * 0.25 <= at - began <= number * 0.25 + 20
    frames = camera.frames[:8]
    assert [number_in(frame.image) for frame in frames] == list(range(8)), "one fetch a picture"
    assert frames[0].pts_seconds == 0
    assert asked[7] - asked[1] <= frames[7].pts_seconds <= asked[8] - asked[0]
    assert len({frame.segment.id for frame in frames}) == 1


def test_snapshots_far_apart_are_one_segment():
    """A gap of more than five seconds would be a jump of the clock in a stream."""
    source = SnapshotSource("gate", "http://127.0.0.1/snap.jpg", every_seconds=30)
    pump = source._pump([FrameSpec(60, 80)], 1 / 30, None)
    picture = av.VideoFrame(64, 48, "rgb24")
    segments = {item.segment.id for time in (0.0, 30.0, 60.1) for item in pump.push(picture, time)}
    assert len(segments) == 1


# Credentials.


@pytest.mark.parametrize("scheme", ["Basic", "MD5"])
def test_credentials(scheme):
    with WebCamera("ad@min", "s3:cr/3t", scheme) as server:
        server.pages["/snap.jpg"] = Page(jpeg(1), "image/jpeg")
        in_url = server.url("/snap.jpg").replace("//", "//ad%40min:s3%3Acr%2F3t@")
        for url, options in ((in_url, {}), (server.url("/snap.jpg"), {"user": "ad@min", "password": "s3:cr/3t"})):
            with Snapshots(url, **options) as camera:
                camera.until(lambda: camera.frames)
                assert camera.codes == []
                assert "s3" not in repr(camera.source)


@pytest.mark.parametrize(
    ("scheme", "user", "words"),
    [
        ("MD5", None, "asks for a user name and a password; none are given"),
        ("MD5", "viewer", "user name or password refused"),
        ("Basic", "viewer", "user name or password refused"),
        ("SHA-256", "viewer", "asks for Digest SHA-256, which this FFmpeg cannot answer; no password was sent"),
    ],
)
def test_refused(scheme, user, words):
    with WebCamera("viewer", "right", scheme) as server:
        with Stream(server.url("/mjpeg"), user=user, password="s3cr3t" if user else None) as camera:
            camera.until(lambda: camera.outages)
        assert (camera.codes[0], words in camera.outages[0].message) == ("unauthorized", True), camera.outages[0]
        assert "s3cr3t" not in camera.outages[0].message
        assert bool(server.credentials()) == (words == "user name or password refused")


@pytest.mark.parametrize("scheme", ["Basic", "MD5"])
def test_a_redirection_takes_no_credentials_to_another_address(scheme):
    with WebCamera("viewer", "s3cr3t", scheme) as first, WebCamera("viewer", "s3cr3t", scheme) as second:
        second.pages["/snap.jpg"] = Page(jpeg(1), "image/jpeg")
        first.pages["/snap.jpg"] = Page(status=302, headers={"Location": second.url("/snap.jpg")})
        with Snapshots(first.url("/snap.jpg"), user="viewer", password="s3cr3t") as camera:
            camera.until(lambda: len(camera.outages) >= 2)
        assert second.requests
        assert second.credentials() == []
    assert set(camera.codes) == {"unauthorized"}
    words = f"redirects to {second.url('/snap.jpg')}, which asks for a password; none was sent there"
    assert words in camera.outages[0].message


def test_a_redirection_within_the_server_keeps_the_credentials():
    with WebCamera("viewer", "s3cr3t") as server:
        server.pages["/old.jpg"] = Page(status=301, headers={"Location": "/new.jpg"})
        server.pages["/new.jpg"] = Page(jpeg(1), "image/jpeg")
        with Snapshots(server.url("/old.jpg"), user="viewer", password="s3cr3t") as camera:
            camera.until(lambda: camera.frames)
        assert camera.codes == []


# No way to this machine's files.


def test_a_redirection_to_a_file_is_not_followed(film):
    with WebCamera() as server:
        server.pages["/x"] = Page(status=302, headers={"Location": film.as_uri()})
        with Stream(server.url("/x")) as camera:
            camera.until(lambda: camera.outages)
    assert camera.frames == []
    assert camera.codes[0] == "protocol"
    assert f"redirects to {film.as_uri()}, which cannot be followed" in camera.outages[0].message


@pytest.mark.parametrize("form", ["file://{}", "{}", "crypto+file://{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
def test_a_playlist_reaches_no_file(form, film):
    """The same playlist with the segment's web address plays."""
    text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n{}\n#EXT-X-ENDLIST\n"
    kind = "application/vnd.apple.mpegurl"
    with WebCamera() as server:
        server.pages["/street.ts"] = Page(film.read_bytes(), "video/mp2t")
        server.pages["/bad.m3u8"] = Page(text.format(form.format(film)).encode(), kind)
        server.pages["/good.m3u8"] = Page(text.format("street.ts").encode(), kind)
        with Stream(server.url("/good.m3u8")) as camera:
            camera.until(lambda: camera.frames)
        with Stream(server.url("/bad.m3u8")) as camera:
            camera.until(lambda: camera.outages)
            assert camera.frames == []


# Reasons.


@pytest.mark.parametrize("target", ["/x", "http://no-such-host.invalid/x", "http://127.0.0.1:{closed}/x"])
def test_a_redirection_that_leads_nowhere(target):
    """The first is a circle."""
    with WebCamera() as server:
        target = target.format(closed=free_port())
        server.pages["/x"] = Page(status=302, headers={"Location": target})
        with Stream(server.url("/x")) as camera:
            camera.until(lambda: camera.outages)
        target = server.url("/x") if target == "/x" else target
    assert camera.codes[0] == "protocol"
    assert f"redirects to {target}, which refuses or is not there" in camera.outages[0].message


def test_another_protocol_on_the_port():
    with WebCamera() as server, Stream(server.url("/x").replace("http", "https")) as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "protocol"
    assert "something listens there, but gives no answer in https" in camera.outages[0].message
    with OddCamera() as server, Stream(server.url.replace("rtsp", "http")) as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "protocol"
    assert "answers in RTSP, not in http" in camera.outages[0].message


@pytest.mark.parametrize(
    ("page", "code", "words"),
    [
        (None, "not_found", "404 Not Found"),
        (Page(b"<html>Log in</html>" * 50, "text/html; charset=utf-8"), "not_a_video", "a web page (text/html)"),
        (Page(b"\x00" * 5000, "application/zip"), "not_a_video", "(application/zip)"),
        (Page(jpeg(1), "image/jpeg"), "not_a_video", "a single picture, not with a stream; set snapshot_seconds"),
        (Page(status=503), "busy", "busy, too many clients (503 Service Unavailable)"),
        (Page(status=429), "busy", "busy, too many clients (429 Too Many Requests)"),
        (Page(status=500), "protocol", "refused with the status 500 Internal Server Error"),
        (Page(status=403), "unauthorized", "refused (403 Forbidden)"),
    ],
)
def test_no_stream(page, code, words):
    with WebCamera() as server:
        if page is not None:
            server.pages["/x"] = page
        with Stream(server.url("/x")) as camera:
            camera.until(lambda: camera.outages)
            assert camera.frames == []
    outage = camera.outages[0]
    assert (outage.code, words in outage.message) == (code, True), outage
    assert outage.message.startswith(f"camera gate: {server.url('/x')}: ")
    assert "\n" not in outage.message


@pytest.mark.parametrize("path", ["/snap.jpg", "/snap.JPG", "/snap.jpeg"])
def test_a_single_picture_that_is_named_as_one_is_no_stream(path):
    """FFmpeg goes by the end of the address where the picture is longer than what it looks at first."""
    with WebCamera() as server:
        server.pages[path] = Page(detailed_jpeg(), "image/jpeg")
        with Stream(server.url(path)) as camera:
            camera.until(lambda: camera.outages)
            assert camera.frames == []
    assert camera.codes[0] == "not_a_video"
    assert "answers with a single picture, not with a stream; set snapshot_seconds" in camera.outages[0].message


def test_a_stream_that_is_named_as_a_picture():
    with WebCamera() as server:
        server.pages["/video.jpg"] = server.multipart(lambda: at_rate(jpeg, 10))
        with Stream(server.url("/video.jpg")) as camera:
            camera.until(lambda: camera.frames)
        assert camera.codes == []


@pytest.mark.parametrize(
    ("page", "code", "words"),
    [
        (Page(b"<html>Log in</html>" * 50, "text/html"), "not_a_video", "a web page (text/html)"),
        (Page(jpeg(1)[:200], "image/jpeg"), "decode", "cannot be decoded"),
        (Page(detailed_jpeg()[:1500], "image/jpeg"), "decode", "cannot be decoded: damaged, or cut off"),
        (Page(detailed_jpeg()[:-1000], "image/jpeg"), "decode", "cannot be decoded: damaged, or cut off"),
    ],
)
def test_no_snapshot(page, code, words):
    with WebCamera() as server:
        server.pages["/x"] = Page(jpeg(1), "image/jpeg")
        with Snapshots(server.url("/x")) as camera:
            camera.until(lambda: camera.frames)
            server.pages["/x"] = page
            camera.until(lambda: camera.outages)
            before = len(camera.frames)
            server.pages["/x"] = Page(jpeg(2), "image/jpeg")
            camera.until(lambda: len(camera.frames) > before)
    outage = camera.outages[0]
    assert (outage.code, words in outage.message) == (code, True), outage
    assert camera.ends[0].segment != camera.frames[-1].segment


def test_a_complete_snapshot_without_the_mark_of_its_end():
    whole = detailed_jpeg()
    assert whole.endswith(b"\xff\xd9")
    with WebCamera() as server:
        server.pages["/x"] = Page(whole[:-2], "image/jpeg")
        with Snapshots(server.url("/x")) as camera:
            camera.until(lambda: len(camera.frames) >= 2)
        assert camera.codes == []


def test_a_server_that_hangs_up_within_the_stream():
    with WebCamera() as server:
        server.pages["/mjpeg"] = server.multipart(lambda: at_rate(jpeg, 10, 10))
        with Stream(server.url("/mjpeg")) as camera:
            camera.until(lambda: camera.connected >= 2 and camera.ends)
    assert set(camera.codes) == {"stream_end"}
    assert camera.ends[0].reason is EndReason.DISCONNECTED


def test_a_server_that_falls_silent_within_the_stream():
    limit = 2.0

    def pictures():
        yield from at_rate(jpeg, 10, 10)
        server.stopping.wait(60)

    with WebCamera() as server:
        server.pages["/mjpeg"] = server.multipart(pictures)
        with Stream(server.url("/mjpeg"), limit=limit) as camera:
            camera.until(lambda: len(camera.frames) >= 9)
            silent_at = time.monotonic()
            camera.until(lambda: camera.outages)
            assert time.monotonic() - silent_at < 1.9 * limit, "one limit, not two"
            assert camera.codes[0] == "timeout"


def test_nothing_listens():
    with Stream(f"http://127.0.0.1:{free_port()}/x") as camera:
        camera.until(lambda: camera.outages)
    assert camera.codes[0] == "refused"


@pytest.mark.parametrize(
    ("location", "options", "words"),
    [
        ("http:///x", {}, "expected http://HOST"),
        ("http://h:0/x", {}, "port must be"),
        ("http://h:x/x", {}, "the port is not a number"),
        ("http://h/x", {"password": "s3cr3t"}, "a password without a user name"),
        ("http://admin:s3cr3t/6@h/x", {}, "percent-encode"),
        ("http://h/x", {"user": "u", "password": "s3cr3t" * 180}, "1023 bytes"),
        ("http://h/x", {"read_timeout_seconds": 0.0}, "above 0"),
    ],
)
def test_a_location_that_no_retry_can_mend(location, options, words):
    with pytest.raises(SourceError, match=words) as caught:
        HttpSource("gate", location, **options)
    assert caught.value.code == "usage"
    assert "s3cr3t" not in str(caught.value)


def test_an_interval_that_no_retry_can_mend():
    with pytest.raises(SourceError, match=r"snapshot_seconds must be above 0, got -1") as caught:
        SnapshotSource("gate", "http://h/x.jpg", every_seconds=-1)
    assert caught.value.code == "usage"


def test_https_with_a_certificate_of_ones_own(tmp_path):
    """As cameras have: the stream is encrypted, and by the setting the certificate is not verified."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=camera"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with WebCamera("viewer", "s3cr3t", tls=context) as server:
        server.pages["/snap.jpg"] = Page(jpeg(7), "image/jpeg")
        anyone = CameraTls(verify=False)
        with Snapshots(server.url("/snap.jpg"), user="viewer", password="s3cr3t", tls=anyone) as camera:
            camera.until(lambda: camera.frames)
            assert number_in(camera.frames[0].image) == 7
        with Stream(server.url("/none"), user="viewer", password="wr0ng", tls=anyone) as camera:
            camera.until(lambda: camera.outages)
            assert "user name or password refused" in camera.outages[0].message


# Stopping.


def test_a_stop_is_noticed_between_two_fetches():
    with WebCamera() as server:
        server.pages["/snap.jpg"] = Page(jpeg(1), "image/jpeg")
        with Snapshots(server.url("/snap.jpg"), every_seconds=60) as camera:
            camera.until(lambda: camera.frames)
            assert camera.finish() < 20
            assert camera.ends[-1].reason is EndReason.SHUTDOWN


# Several streams.


def test_the_stream_that_is_watched_is_named_and_can_be_chosen(ffmpeg, tmp_path):
    path = tmp_path / "two.ts"
    sources = [f"testsrc2=size={size}:rate=10:duration=2" for size in ("320x240", "160x120")]
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    ffmpeg(*inputs, "-map", "0", "-map", "1", "-c:v", "libx264", "-bf", "0", "-g", "5", path)
    with WebCamera() as server:
        server.pages["/two.ts"] = Page(path.read_bytes(), "video/mp2t")
        for wanted, width in ((None, 320), (1, 160)):
            said: list[str] = []
            with Stream(server.url("/two.ts"), video_stream=wanted, on_choice=said.append) as camera:
                camera.until(lambda: camera.connected >= 2)
            assert {frame.native.width for frame in camera.frames} == {width}
            (line,) = said
            assert line.startswith(f"camera gate: {server.url('/two.ts')}: 2 video streams: 0 (")
            assert line.endswith(f"; watching {wanted or 0}")
            assert "320x240" in line
            assert "160x120" in line
        with Stream(server.url("/two.ts"), video_stream=2) as camera:
            camera.until(lambda: camera.outages)
        assert camera.codes[0] == "no_video_stream"
        assert "no video stream 2" in camera.outages[0].message


def test_of_several_variants_only_the_watched_one_is_fetched(ffmpeg, film, tmp_path):
    for name in ("low", "high"):
        ffmpeg(
            "-i", film, "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", tmp_path / f"{name}.m3u8"
        )
    variants = "".join(f"#EXT-X-STREAM-INF:BANDWIDTH={rate}\n{name}.m3u8\n" for name, rate in (("low", 1), ("high", 9)))
    (tmp_path / "master.m3u8").write_text(f"#EXTM3U\n{variants}")
    with WebCamera() as server:
        serve(server, tmp_path)
        with Stream(server.url("/master.m3u8"), video_stream=1) as camera:
            camera.until(lambda: camera.outages)
        asked = server.paths()
    assert len([frame for frame in camera.frames if frame.segment == camera.ends[0].segment]) == 30
    assert "/high2.ts" in asked
    assert "/low2.ts" not in asked


def test_snapshots_and_streams_do_not_wait_for_one_another():
    """A server that is slow with one page holds up no other source."""

    def slowly() -> Iterator[bytes]:
        yield jpeg(1)[:100]
        server.stopping.wait(60)

    with WebCamera() as server:
        server.pages["/slow.jpg"] = Page(slowly, "image/jpeg")
        server.pages["/fast.jpg"] = Page(jpeg(2), "image/jpeg")
        with Snapshots(server.url("/slow.jpg")) as slow, Snapshots(server.url("/fast.jpg")) as fast:
            fast.until(lambda: len(fast.frames) >= 5)
            assert slow.frames == []
            server.stopping.set()
