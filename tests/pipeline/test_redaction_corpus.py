"""No secret of a corpus of texts survives: URLs in every form, messages of FFmpeg, Kafka, Triton, YAML and pydantic."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline import logs
from pipeline.settings import CameraSettings, SettingsError, load_site
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sources.base import FrameSpec, SourceError
from pipeline.sources.credentials import names_secret, redact, redact_location, shown, split
from pipeline.sources.factory import SourceCallbacks, SourceOptions, open_source

#: Parts of passwords that people use and parsers stumble over.
SECRETS = ["s3cr3t", "p@ss-w0rd", "p:a:s5", "ünïcödé7", "%41bc", "a+b=c9", "100%real", "dollar$ign", "semi;colon"]

#: Where a secret stands in a location, percent-encoded as the RFC wants it.
ENCODED = [
    "rtsp://admin:{}@10.0.0.7/stream1",
    "rtsp://admin:{}@10.0.0.7:8554/stream1?channel=1",
    "rtsps://admin:{}@[fe80::1%25eth0]:322/stream1",
    "rtsp://:{}@camera/stream1",
    "http://admin:{}@camera.example/video.mjpg",
    "https://viewer:{}@camera.example:8443/live/index.m3u8?x=1#top",
    "srt://camera:9000?passphrase={}&mode=caller",
    "rtmp://publisher:{}@10.0.0.7/live/stream",
    "rtsp://10.0.0.7/cam?user=admin&password={}",
    "rtsp://10.0.0.7/cam?token={}&x=1",
    "http://10.0.0.7/snap.cgi?loginuse=admin&loginpas={}",
    "http://10.0.0.7/snap?auth={}&ch=1",
    "rtsp://10.0.0.7/user=admin_password={}_channel=1",
    "http://10.0.0.7/x?X-Amz-Signature={}",
    "http://10.0.0.7/x?access_token={}",
    "rtsp://10.0.0.7/0/admin:{}/main",
]
#: Where people paste it as it is.
RAW = [
    "rtsp://admin:{}@10.0.0.7/stream1",
    "http://admin:{}@camera.example/video.mjpg",
    "rtsp:/admin:{}@10.0.0.7/stream1",
    "admin:{}@10.0.0.7/stream1",
]
#: Messages of others around a location.
FRAMES = [
    "{}",
    "[Errno 5] Input/output error: '{}'",
    'Could not open "{}": Connection refused',
    "[rtsp @ 0x55d0c8] method DESCRIBE failed: 401 Unauthorized for {}",
    "[tls @ 0x7f] The certificate's owner does not match hostname ({})",
    "av.error.HTTPUnauthorizedError: [Errno 825242872] Server returned 401 Unauthorized: '{}'",
    "failed to connect to all addresses; last error: UNKNOWN: {}: Socket closed",
    "KafkaConnectionError: Connection to {} failed",
    "redirects to {}, which refuses",
    'while scanning a plain scalar\n  in "site.yaml", line 3: source: {}',
    "['{}', 'another']",
    "two: {} and {}",
]
#: Named secrets outside of URLs.
PAIRS = [
    "sasl_plain_password='{}'",
    "'sasl_plain_password': '{}'",
    '{{"password": "{}"}}',
    'org.apache.kafka…PlainLoginModule required username="alerts" password="{}";',
    "MISTWATCH_PASSWORD={}",
    "Authorization: Basic {}",
    "{{'Authorization': 'Bearer {}'}}",
    "api_key={}",
]
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="@/?#&'\"<>\\{}"), min_size=4)


def texts(secret: str) -> list[str]:
    """Every location in every message."""
    in_form = quote(secret, safe="")
    return [frame.replace("{}", place.format(in_form)) for frame in FRAMES for place in ENCODED]


def assert_gone(secret: str, text: str) -> None:
    for form in {secret, quote(secret, safe=""), quote(secret)}:
        assert form not in text


@pytest.mark.parametrize("secret", SECRETS)
class TestCorpus:
    def test_a_message(self, secret: str) -> None:
        for text in texts(secret):
            assert_gone(secret, redact(text))
            assert redact(redact(text)) == redact(text)

    def test_a_location(self, secret: str) -> None:
        for place in ENCODED:
            assert_gone(secret, shown(place.format(quote(secret, safe=""))))
        for place in RAW:
            assert_gone(secret, shown(place.format(secret)))

    def test_a_named_value(self, secret: str) -> None:
        for pair in PAIRS:
            if ";" in secret and "'" not in pair and '"' not in pair:
                continue  # a ; ends a value that has no quotes
            assert_gone(secret, redact(pair.format(secret)))

    @pytest.mark.parametrize("fmt", ["json", "console"])
    def test_a_log_line(self, secret: str, fmt: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """As text, exception, list, mapping, bytes, path, chained traceback, bound value and event."""
        logs.configure(fmt, "debug")
        log = logs.get("test").bind(bound=texts(secret)[0])
        for text in texts(secret)[:: len(ENCODED) - 1]:
            error = OSError(5, "Input/output error", text)
            log.warning(text, error=error, inside=[error, {"why": text, "password": secret}], raw=text.encode())
            log.info("a path", path=Path(text), several=(text, {text}), settings={"sasl_plain_password": secret})
            try:
                try:
                    raise error
                except OSError as cause:
                    raise ValueError(f"cannot use {text}") from cause
            except ValueError:
                log.exception("a bug")
        assert_gone(secret, capsys.readouterr().err)

    def test_the_traceback_of_a_thread_and_of_a_process(
        self, secret: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = texts(secret)[0]
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(threading, "excepthook", threading.excepthook)
        logs.redact_tracebacks()

        def fail() -> None:
            raise OSError(5, "Input/output error", text)

        thread = threading.Thread(target=fail, name="camera-gate")
        thread.start()
        thread.join()
        try:
            fail()
        except OSError as error:
            sys.excepthook(type(error), error, error.__traceback__)
        written = capfd.readouterr().err
        assert_gone(secret, written)
        assert "camera-gate" in written
        assert written.count("OSError: [Errno 5] Input/output error") == 2


class TestRealErrors:
    @pytest.mark.parametrize("place", ENCODED)
    def test_of_ffmpeg(self, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """PyAV's exception holds the URL; what is behind it need not exist."""
        location = place.format("s3cr3t").replace("10.0.0.7", "127.0.0.1:1").replace("camera", "127.0.0.1")
        location = location.replace("127.0.0.1:1:8554", "127.0.0.1:1").replace("127.0.0.1.example", "127.0.0.1")
        try:
            av.open(location, timeout=5, options={"rtsp_transport": "tcp"})
        except (av.FFmpegError, ValueError) as error:
            for text in (str(error), repr(error), repr([error]), repr(getattr(error, "log", None))):
                assert_gone("s3cr3t", redact(text))

    @pytest.mark.parametrize("place", [place for place in ENCODED if place.startswith(("rtsp", "http"))])
    def test_of_a_camera(self, place: str) -> None:
        seen: list[str] = []
        stop = threading.Event()

        def out(outage: Any) -> None:
            seen.append(outage.message)
            stop.set()

        location = place.format("s3cr3t").replace("10.0.0.7", "127.0.0.1:1").replace("camera.example", "127.0.0.1")
        location = location.replace("127.0.0.1:1:8554", "127.0.0.1:1").replace("fe80::1%25eth0", "::1")
        location = location.replace("@camera/", "@127.0.0.1:1/")
        options = SourceOptions(open_timeout_seconds=5)
        try:
            source = open_source("gate", location, options, SourceCallbacks(on_outage=out))
            seen.append(repr(source))
            for _ in source.frames([FrameSpec(16, 16)], stop):
                break
        except SourceError as error:
            seen.append(str(error))
        assert seen
        assert_gone("s3cr3t", "\n".join(seen))

    @pytest.mark.parametrize(
        "text",
        [
            "cameras: {{gate: {{source: rtsp://h/x, password: [{0}]}}}}",
            "cameras: {{gate: {{source: rtsp://h/x, passwort: {0}}}}}",
            "cameras: {{gate: {{source: 'rtsp://u:{0}@h/x', transport: pigeon}}}}",
            "cameras: {{gate: {{source: 'rtsp://u:{0}@h/x', snapshot_seconds: 3}}}}",
            "cameras: {{gate: {{source: rtsp://u:{0}@h/x}}, 'rtsp://u:{0}@h': {{}}}}",
            "cameras: {{gate: {{source: 'rtsp://u:{0}@h/x' 'password'}}}}",
            "cameras: {{gate: {{source: rtsp://h, username: u, password: '{0}', password_file: x}}}}",
            "kafka: {{security: {{user: u, password: '{0}', password_file: x}}}}\ncameras: {{}}",
            "kafka: {{security: {{user: u, password: {{a: '{0}'}}}}}}\ncameras: {{}}",
            "kafka: {{bootstrap: 'u:{0}@h:1'}}\ncameras: {{}}",
            "password: *{0}\ncameras: {{}}",
        ],
    )
    def test_of_a_sites_file(self, text: str, tmp_path: Path) -> None:
        site = tmp_path / "site.yaml"
        site.write_text(text.format("s3cr3t"))
        with pytest.raises(SettingsError) as caught:
            load_site(site)
        assert_gone("s3cr3t", str(caught.value))

    def test_of_settings_in_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site = tmp_path / "site.yaml"
        site.write_text("cameras: {gate: {source: 'rtsp://h/x', username: u}}")
        monkeypatch.setenv("MISTWATCH_CAMERAS__GATE__PASSWORD", "s3cr3t")
        loaded = load_site(site)
        for text in (repr(loaded), str(loaded), loaded.model_dump_json(), repr(loaded.cameras["gate"].password)):
            assert_gone("s3cr3t", text)
        monkeypatch.setenv("MISTWATCH_CAMERAS__GATE__PASSWORD__X", "s3cr3t")
        monkeypatch.setenv("MISTWATCH_CAMERAS", "rtsp://u:s3cr3t@h/x")
        with pytest.raises(SettingsError) as caught:
            load_site(site)
        assert_gone("s3cr3t", str(caught.value))

    def test_of_pydantic_itself(self) -> None:
        for make in (
            lambda: KafkaSecurity(user="u", password="s3cr3t", password_file="x"),  # type: ignore[arg-type]
            lambda: CameraSettings(source="rtsp://h", password="s3cr3t", password_file="x"),  # type: ignore[arg-type]
        ):
            with pytest.raises(ValidationError) as caught:
                make()
            assert_gone("s3cr3t", str(caught.value))
            assert_gone("s3cr3t", redact(repr(caught.value.errors(include_input=False))))


@given(WORD, WORD, st.sampled_from(ENCODED[:6] + ENCODED[8:10]), st.sampled_from(FRAMES))
def test_random_credentials_in_random_places(user: str, password: str, place: str, frame: str) -> None:
    location = place.format(quote(password, safe="")).replace("admin:", f"{quote(user, safe='')}:")
    text = frame.replace("{}", location)
    if password in text.replace(quote(password, safe=""), ""):
        return  # it stands in the message by chance
    assert_gone(password, redact(text))
    assert_gone(password, shown(location))
    if "@" in location:
        assert_gone(password, repr(split(location)) + str(split(location)))
    assert_gone(password, redact_location(location))


def test_names_of_secrets() -> None:
    for name in ("password", "sasl_plain_password", "api_key", "API-Key", "token", "Authorization", "tls_key_password"):
        assert names_secret(name)
    for name in ("keyframe", "passed", "tokens_used", "key", "compass", "message"):
        assert not names_secret(name)


def test_ordinary_texts_stay_as_they_are() -> None:
    for text in (
        "camera gate: rtsp://10.0.0.7/x: user name or password refused",
        "password: missing (required)",
        "cameras.gate.password: give password or password_file, not both",
        "Kafka password file /run/secrets/kafka: No such file or directory",
        "model i3d: 16 frames, key=gate, passed=3",
    ):
        assert redact(text) == text
