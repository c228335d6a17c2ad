"""Certificates of cameras, over real TLS in front of the camera server and of a web server."""

from __future__ import annotations

import re
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from certificates import Authority, Certificate, self_signed
from tls_front import TlsFront
from web_camera import Page, WebCamera

from deploy.camera.server import CameraServer
from pipeline.sources.base import Frame, FrameSpec, SourceError
from pipeline.sources.certificates import CameraTls
from pipeline.sources.factory import SourceCallbacks, SourceOptions, open_source
from pipeline.sources.reconnect import Backoff, BackoffSettings, Outage
from pipeline.tls import fingerprint

PATIENCE = 60.0
SECRET = "s3cr3t-w0rd"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no test trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., bytes]) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    scene = "testsrc2=size=160x120:rate=10:duration=3"
    ffmpeg("-f", "lavfi", "-i", scene, "-c:v", "libx264", "-bf", "0", "-g", "5", "-pix_fmt", "yuv420p", path)
    return path


@pytest.fixture(scope="module")
def cameras(film: Path) -> Iterator[CameraServer]:
    server = CameraServer({"cam": film})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def rtsps(cameras: CameraServer) -> Callable[[Certificate], Any]:
    """rtsps(certificate): TLS in front of the camera server; the front."""

    return lambda certificate: TlsFront(certificate.server_context(), cameras.port)


def address(front: TlsFront, host: str = "127.0.0.1") -> str:
    return f"rtsps://viewer:{SECRET}@{host}:{front.port}/cam"


def watch(location: str, tls: CameraTls | None = None, **options: Any) -> tuple[list[Frame], list[Outage]]:
    """Return the frames and the outages until the first of either."""
    frames: list[Frame] = []
    outages: list[Outage] = []
    stop = threading.Event()

    def out(outage: Outage) -> None:
        outages.append(outage)
        stop.set()

    source = open_source("gate", location, SourceOptions(tls=tls, **options), SourceCallbacks(on_outage=out))
    began = time.monotonic()
    for item in source.frames([FrameSpec(120, 160)], stop):
        if isinstance(item, Frame):
            frames.append(item)
            stop.set()
    assert time.monotonic() - began < PATIENCE
    for outage in outages:
        assert SECRET not in outage.message
        assert "\n" not in outage.message
    return frames, outages


def refused(location: str, tls: CameraTls | None = None) -> str:
    """Return the message of the camera's one outage, of code ``certificate``."""
    frames, outages = watch(location, tls)
    assert not frames
    (outage,) = outages
    assert outage.code == "certificate", outage
    assert outage.message.startswith("camera gate: "), outage
    return outage.message


class TestRtsps:
    def test_a_trusted_camera_is_watched(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("good", "IP:127.0.0.1")) as front:
            frames, outages = watch(address(front), CameraTls(ca=authority.ca))
        assert frames
        assert not outages

    def test_without_settings_an_unknown_authority_is_refused(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("good", "IP:127.0.0.1")) as front:
            message = refused(address(front))
            assert "signed by an unknown authority" in message
            assert "tls.ca" in message
            assert front.received == b"", "nothing is sent to a camera that is not trusted"

    def test_an_expired_one_is_refused(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("expired", "IP:127.0.0.1", days=-1)) as front:
            message = refused(address(front), CameraTls(ca=authority.ca))
            assert "has expired" in message
            assert front.received == b""

    def test_one_for_another_name_is_refused_and_that_name_is_shown(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("other", "DNS:yard.example")) as front:
            message = refused(address(front), CameraTls(ca=authority.ca))
            assert "is not for 127.0.0.1: it is for yard.example" in message
            assert front.received == b""
            frames, _ = watch(address(front), CameraTls(ca=authority.ca, server_name="yard.example"))
            assert frames

    def test_one_of_another_authority_is_refused(self, rtsps: Any, authority: Authority, stranger: Authority) -> None:
        with rtsps(stranger.sign("foreign", "IP:127.0.0.1")) as front:
            assert "unknown authority" in refused(address(front), CameraTls(ca=authority.ca))
            assert front.received == b""

    def test_one_signed_by_itself_can_be_the_authority(self, rtsps: Any, tmp_path: Path) -> None:
        own = self_signed(tmp_path, "camera", "IP:127.0.0.1")
        with rtsps(own) as front:
            assert "signed by itself" in refused(address(front))
            assert front.received == b""
            assert watch(address(front), CameraTls(ca=own.certificate))[0]

    def test_one_signed_by_itself_can_be_pinned_as_the_message_says(self, rtsps: Any, tmp_path: Path) -> None:
        with rtsps(self_signed(tmp_path, "camera")) as front:
            shown = refused(address(front)).rpartition("tls.fingerprint to ")[2]
            frames, outages = watch(address(front), CameraTls(fingerprint=shown))
        assert frames
        assert not outages

    def test_an_expired_one_for_another_name_can_be_pinned(self, rtsps: Any, authority: Authority) -> None:
        old = authority.sign("old", "DNS:elsewhere", days=-1)
        with rtsps(old) as front:
            assert watch(address(front), CameraTls(fingerprint=fingerprint_of(old)))[0]

    def test_another_one_than_the_pinned_is_refused(self, rtsps: Any, tmp_path: Path, authority: Authority) -> None:
        pinned = self_signed(tmp_path, "camera", "IP:127.0.0.1")
        other = authority.sign("good", "IP:127.0.0.1")
        with rtsps(other) as front:
            message = refused(
                address(front), CameraTls(fingerprint=":".join(re.findall("..", fingerprint_of(pinned).upper())))
            )
            assert f"shows {fingerprint_of(other)}" in message
            assert front.received == b""

    def test_any_is_taken_where_the_site_says_so(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("expired", "DNS:elsewhere", days=-1)) as front:
            assert watch(address(front), CameraTls(verify=False))[0]

    def test_a_missing_authority_is_an_outage_that_names_the_file(self, rtsps: Any, authority: Authority) -> None:
        with rtsps(authority.sign("good", "IP:127.0.0.1")) as front:
            _, (outage,) = watch(address(front), CameraTls(ca=Path("/none/ca.pem")))
            assert outage.code == "certificate"
            assert "camera TLS authority /none/ca.pem: No such file or directory" in outage.message
            assert front.received == b""

    def test_over_udp_nothing_would_be_verified(self) -> None:
        with pytest.raises(SourceError, match=r"over UDP pictures are not encrypted; set transport: tcp") as caught:
            open_source("gate", "rtsps://127.0.0.1:1/cam", SourceOptions(transport="udp"))  # type: ignore[arg-type]
        assert caught.value.code == "usage"


class TestHttps:
    @pytest.fixture
    def pages(self, film: Path, tmp_path: Path) -> dict[str, Page]:
        stream = tmp_path / "film.ts"
        subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-c", "copy", stream], check=True, timeout=60)
        head = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n"
        return {
            "/film.ts": Page(stream.read_bytes(), "video/mp2t"),
            "/list": Page(f"{head}film.ts\n#EXT-X-ENDLIST\n".encode(), "application/vnd.apple.mpegurl"),
        }

    @contextmanager
    def serve(self, certificate: Certificate, pages: dict[str, Page], user: str | None = None) -> Iterator[WebCamera]:
        with WebCamera(user, SECRET, tls=certificate.server_context()) as server:
            server.pages.update(pages)
            yield server

    def test_a_trusted_one_is_watched_and_others_get_no_request(
        self, authority: Authority, pages: dict[str, Page], tmp_path: Path
    ) -> None:
        tls = CameraTls(ca=authority.ca)
        with self.serve(authority.sign("good", "IP:127.0.0.1"), pages, "viewer") as server:
            assert watch(server.url("/film.ts"), tls, user="viewer", password=SECRET)[0]
        for certificate, words in (
            (authority.sign("expired", "IP:127.0.0.1", days=-1), "expired"),
            (authority.sign("other", "DNS:yard.example"), "it is for yard.example"),
            (self_signed(tmp_path, "own", "IP:127.0.0.1"), "signed by itself"),
        ):
            with self.serve(certificate, pages, "viewer") as server:
                assert words in refused(server.url("/film.ts").replace("//", f"//viewer:{SECRET}@"), tls)
                assert server.requests == []

    def test_a_pinned_one_is_watched_and_sees_its_own_name(self, tmp_path: Path, pages: dict[str, Page]) -> None:
        own = self_signed(tmp_path, "own")
        with self.serve(own, pages, "viewer") as server:
            tls = CameraTls(fingerprint=fingerprint_of(own))
            assert watch(server.url("/film.ts"), tls, user="viewer", password=SECRET)[0]
            assert {headers["host"] for _, headers in server.requests} == {server.url("").partition("//")[2]}

    def test_a_playlist_is_read_from_its_own_address_alone(
        self, authority: Authority, tmp_path: Path, pages: dict[str, Page]
    ) -> None:
        """FFmpeg does not verify the addresses that a playlist names (8.1)."""
        tls = CameraTls(ca=authority.ca)
        with (
            self.serve(authority.sign("good", "IP:127.0.0.1"), pages) as server,
            self.serve(self_signed(tmp_path, "own", "IP:127.0.0.1"), pages) as other,
        ):
            assert watch(server.url("/list"), tls)[0]
            body = pages["/list"].body
            assert isinstance(body, bytes)
            far = body.replace(b"film.ts", other.url("/film.ts").encode())
            server.pages["/list"] = Page(far, "application/vnd.apple.mpegurl")
            frames, (_,) = watch(server.url("/list"), tls)
            assert not frames
            assert other.requests == [], "the first opening must not fetch it either"

    @pytest.mark.parametrize(("path", "after"), [("/list.m3u8", 2), ("/snapshot?%d.jpg", 0)])
    def test_no_connection_that_is_not_verified_brings_the_password(
        self, path: str, after: int, authority: Authority, tmp_path: Path, pages: dict[str, Page]
    ) -> None:
        """A man in the middle takes over what comes after the camera's first page, and its question for a password."""
        with self.serve(authority.sign("good", "IP:127.0.0.1"), pages, "viewer") as server:
            server.pages[path] = pages["/list"]
            port = int(server.url("").rpartition(":")[2])
            own = self_signed(tmp_path, "own", "IP:127.0.0.1").server_context()
            with TakenOver(port, own, after=after) as middle:
                location = f"https://viewer:{SECRET}@127.0.0.1:{middle.port}{path}"
                frames, outages = watch(location, CameraTls(ca=authority.ca))
            assert not frames
            assert outages
            assert middle.taken >= 1
            assert middle.received == b"", "a request went to a server that was not verified"

    def test_a_redirect_is_verified_too(self, authority: Authority, tmp_path: Path, pages: dict[str, Page]) -> None:
        with (
            self.serve(authority.sign("good", "IP:127.0.0.1"), pages) as server,
            self.serve(self_signed(tmp_path, "own", "IP:127.0.0.1"), pages) as other,
        ):
            server.pages["/moved"] = Page(b"", status=302, headers={"Location": other.url("/film.ts")})
            frames, (outage,) = watch(server.url("/moved"), CameraTls(ca=authority.ca))
            assert not frames
            assert other.url("/film.ts") in outage.message
            assert other.requests == []


class TakenOver:
    """Passes the first connections on to a camera as they are, and answers the others in its place.

    Attributes:
        taken: number of connections that it answered.
        received: what came on these, decrypted.
    """

    def __init__(self, camera_port: int, own: ssl.SSLContext, *, after: int) -> None:
        self._camera_port, self._own, self._left = camera_port, own, after
        self.taken = 0
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._left > 0:
                self._left -= 1
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()
            else:
                self.taken += 1
                self._answer(near)

    def _answer(self, near: socket.socket) -> None:
        near.settimeout(10)
        with near, suppress(OSError), self._own.wrap_socket(near, server_side=True) as client:
            self.received += client.recv(65536)

    def _pass_on(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._camera_port), 10)
        with near, far, suppress(OSError):
            while True:
                ready = select.select([near, far], [], [], 10)[0]
                if not ready:
                    return
                for each in ready:
                    data = each.recv(65536)
                    if not data:
                        return
                    (far if each is near else near).sendall(data)


def fingerprint_of(certificate: Certificate) -> str:
    """The SHA-256, as OpenSSL prints it."""
    command = ["openssl", "x509", "-in", str(certificate.certificate), "-noout", "-fingerprint", "-sha256"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return shown.strip().rpartition("=")[2].replace(":", "").lower()


def test_the_fingerprint_is_openssls(tmp_path: Path) -> None:
    made = self_signed(tmp_path, "own")
    der = subprocess.run(
        ["openssl", "x509", "-in", str(made.certificate), "-outform", "DER"],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    assert fingerprint(der) == CameraTls(fingerprint=fingerprint_of(made)).pinned


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (CameraTls(fingerprint="12:34"), "64 hexadecimal digits, got '12:34'"),
        (CameraTls(fingerprint="ab" * 32, ca=Path("ca.pem")), "leave out tls.ca"),
        (CameraTls(fingerprint="ab" * 32, verify=False), "leave out"),
    ],
)
def test_settings_that_contradict_themselves(tls: CameraTls, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        open_source("gate", "rtsps://127.0.0.1:1/cam", SourceOptions(tls=tls))
    assert caught.value.code == "usage"


def test_a_refused_certificate_is_tried_again_slowly() -> None:
    backoff = Backoff(BackoffSettings(first=1, longest=30), draw=lambda: 0.999)
    assert backoff.wait_after("certificate", 0) == pytest.approx(30, rel=0.01)
