"""Answers of machines outside: Triton's descriptions, RTSP and HTTP heads, locations, whole answers to clients."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tritonclient.grpc.model_config_pb2 as model_config
from fuzzing import fuzz, mutated, mutated_bytes, mutated_text, outcome
from hypothesis import strategies as st

from pipeline.scoring.embedding import describe_embedding
from pipeline.scoring.places import describe_places
from pipeline.scoring.served_model import describe
from pipeline.scoring.target import Target
from pipeline.sinks.webhook import WebhookSink
from pipeline.sinks.webhook_settings import WebhookSettings
from pipeline.sources.base import FrameSpec
from pipeline.sources.challenge import parse_challenges, taken_by_ffmpeg
from pipeline.sources.connection import LiveOptions
from pipeline.sources.credentials import redact, redact_location, shown, split
from pipeline.sources.factory import open_source
from pipeline.sources.http import HttpSource
from pipeline.sources.network import said
from pipeline.sources.probe import _parse, ask
from pipeline.sources.rtsp import RtspSource

pytestmark = pytest.mark.fuzz

SCORER = {
    "name": "mean", "clip_frames": "4", "clip_height": "16", "clip_width": "16", "clip_stride": "2",
    "clip_fit": "crop", "clip_fps": "25.0", "threshold": "0.5", "close_threshold": "0.4", "kernel": "3",
    "heat": "attention", "scene": "clip", "features": "ab", "backbone": "i3d", "scores": "rarity", "gate": "allowed",
}  # fmt: skip
HOST = {**{key: value for key, value in SCORER.items() if key != "scene"}, "parts": "1"}
EMBEDDING = {"embedding": "simclr", "similarity": "0.9", "mute_similarity": "0.95", "features": "ab"}
PLACES = {"places": "courtyard", "nodes": '[["ground"], ["ground", "road"], ["person"]]', "things": "[2]"}
#: Of each kind of model: its parameters, and its inputs and outputs with their dimensions.
MODELS: list[tuple[dict[str, str], list[tuple[str, list[int]]], list[tuple[str, list[int]]]]] = [
    (SCORER, [("CLIP", [4, 16, 16, 3]), ("SCENE", [16, 16, 3])], [("SCORE", [1]), ("HEAT", [2, 2]), ("FEATURES", [4])]),
    (HOST, [("CLIP", [4, 16, 16, 3]), ("PART", [-1])], [("SCORE", [1]), ("HEAT", [2, 2]), ("PART_SETTINGS", [-1])]),
    (EMBEDDING, [("FEATURES", [4])], [("EMBEDDING", [8])]),
    (PLACES, [("PICTURE", [32, 48, 3])], [("CLASSES", [32, 48])]),
]
LOCATIONS = [
    "rtsp://viewer:s3cr3t@10.0.0.7:554/stream1?channel=1",
    "rtsps://[fe80::1%25eth0]/x",
    "http://camera/video.mjpg",
    "https://camera:8443/live.m3u8#t",
    "synthetic://courtyard?seed=3&width=160",
    "device:///dev/video0",
    "file:///films/a%20b.mp4",
]
RTSP_HEAD = (
    b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n"
    b'WWW-Authenticate: Digest realm="cam", nonce="4f7a01", qop="auth", algorithm=MD5, opaque="x"\r\n'
    b'WWW-Authenticate: Basic realm="cam"\r\nLocation: rtsp://u:s3cr3t@other/x\r\n\r\n'
)
SDP = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
    b"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAHpWoKAv+VA==,aM48gA==\r\n"
    b"a=control:track1\r\n"
)
DESCRIBED = (
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Base: rtsp://127.0.0.1/x/\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SDP)
) + SDP
HTTP = [
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\nContent-Type: image/jpeg\r\n"
    b"Content-Length: 4\r\n\r\n\xff\xd8\xff\xd9\r\n--b\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
    b"#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n",
    RTSP_HEAD.replace(b"RTSP/1.0", b"HTTP/1.1"),
]
WEBHOOK = [
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://u:s3cr3t@[::1]:1/x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 429 Slow down\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct 2065 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
]


class Described:
    """A Triton client whose answers are given."""

    def __init__(self, versions: list[Any], config: Any, part: bytes) -> None:
        self._versions, self._config, self._part = versions, config, part

    def get_model_metadata(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(versions=self._versions)

    def get_model_config(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(config=self._config)

    def infer(self, *_: Any, **__: Any) -> Any:
        response = SimpleNamespace(model_version="1")
        return SimpleNamespace(get_response=lambda: response, as_numpy=lambda _: self._part)


def configuration(number: int) -> Any:
    """Return the configuration of a model that is described as it should be."""
    parameters, inputs, outputs = MODELS[number]
    config = model_config.ModelConfig(name="fuzzed")
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    for tensors, described in ((config.input, inputs), (config.output, outputs)):
        for name, dims in described:
            kind = "TYPE_FP32" if name in ("SCORE", "HEAT", "FEATURES", "EMBEDDING") else "TYPE_UINT8"
            tensors.add(name=name, data_type=kind, dims=dims)
    for tensor in config.input:
        if hasattr(tensor, "optional"):
            tensor.optional = tensor.name in ("SCENE", "PART")
    return config


@st.composite
def configurations(draw: st.DrawFn) -> Any:
    """A model's configuration with mutated parameters and tensors."""
    number = draw(st.integers(0, len(MODELS) - 1))
    config = configuration(number)
    config.ClearField("parameters")
    parameters = draw(mutated([MODELS[number][0]]))
    for key, value in (parameters if isinstance(parameters, dict) else {}).items():
        config.parameters[_clean(key)].string_value = _clean(value)
    for tensors in (config.input, config.output):
        for tensor in list(tensors):
            match draw(st.sampled_from(["keep", "keep", "keep", "dims", "name", "remove"])):
                case "dims":
                    del tensor.dims[:]
                    tensor.dims.extend(draw(st.lists(st.integers(-2, 2**40), max_size=5)))
                case "name":
                    tensor.name = draw(st.sampled_from(["HEAT", "SCORE", "MASK", "SCENE", "EMBEDDING", "", "PART"]))
                case "remove":
                    tensors.remove(tensor)
    return config


def _clean(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


VERSIONS = st.sampled_from([["1"], ["3", "12"]]) | st.lists(st.text(max_size=3), max_size=3)
PART = mutated_bytes([json.dumps(HOST).encode()])


@fuzz(0.09, config=configurations(), versions=VERSIONS, part=PART, name=st.sampled_from(["", "gate"]))
def test_a_description_by_triton(config: Any, versions: list[str], part: bytes, name: str) -> None:
    client: Any = Described(versions, config, part)
    outcome("Triton, clip scorer", lambda: describe(client, "h:1", Target("clip_scorer", name)))
    outcome("Triton, embedding", lambda: describe_embedding(client, "h:1", "alike"))
    outcome("Triton, places", lambda: describe_places(client, "h:1", "places"))


def test_the_descriptions_can_be_read_before_they_are_mutated() -> None:
    part = json.dumps(HOST).encode()
    clients: list[Any] = [Described(["1"], configuration(number), part) for number in range(len(MODELS))]
    assert describe(clients[0], "h:1", Target("clip_scorer")).heat is not None
    assert describe(clients[1], "h:1", Target("clip_scorer", "gate")).name == "mean"
    assert describe_embedding(clients[2], "h:1", "alike").inputs == 4
    assert describe_places(clients[3], "h:1", "places").width == 48


@fuzz(0.06, location=mutated_text(LOCATIONS) | st.text(max_size=30))
def test_a_location(location: str) -> None:
    for text in (shown(location), redact_location(location), redact(location)):
        assert isinstance(text, str)
    if "://" in location:
        split(location).for_ffmpeg()
    # A real folder of this machine, as `/`, is read as an archive, however large it is. This look never raises.
    if not os.path.isdir(location):  # noqa: PTH112
        outcome("locations", lambda: open_source("gate", location))


@fuzz(0.06, head=mutated_bytes([RTSP_HEAD, DESCRIBED, *HTTP]) | st.binary(max_size=60))
def test_the_head_of_an_answer(head: bytes) -> None:
    answer = outcome("heads", lambda: _parse(head.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")))
    if answer is None:
        return
    assert said(answer.reason).isprintable()
    challenges = parse_challenges(answer.all("www-authenticate"))
    assert all(str(one).isprintable() for one in challenges)
    if (taken := taken_by_ffmpeg(challenges)) is not None:
        taken.authorization("DESCRIBE", "rtsp://h/x", "u", "s3cr3t")


class Answering:
    """A server that sends the same bytes to every client that asks, and closes."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(2)
            for _ in range(4):  # OPTIONS, DESCRIBE, …
                if not client.recv(65536):
                    return
                client.sendall(self.answer)


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    server = Answering()
    yield server
    server.close()


def first_of(source: Any) -> None:
    """Open a connection and take what comes first, as ``frames`` does with each of its connections."""
    stop = threading.Event()
    with contextlib.closing(source._connection([FrameSpec(16, 16)], stop)) as items:
        next(iter(items), None)


LIMITS: LiveOptions = {"open_timeout_seconds": 1.0, "read_timeout_seconds": 0.5}


@pytest.mark.slow  # each answer costs the client its limits of time
@fuzz(0.004, answer=mutated_bytes([RTSP_HEAD, DESCRIBED, SDP]))
def test_the_rtsp_client(answering: Answering, answer: bytes) -> None:
    answering.answer = answer
    location = f"rtsp://viewer:s3cr3t@127.0.0.1:{answering.port}/x"
    with contextlib.suppress(StopIteration):
        outcome("RTSP client", lambda: first_of(RtspSource("gate", location, **LIMITS)))


@pytest.mark.slow
@fuzz(0.004, answer=mutated_bytes(HTTP))
def test_the_http_client(answering: Answering, answer: bytes) -> None:
    answering.answer = answer
    location = f"http://viewer:s3cr3t@127.0.0.1:{answering.port}/x"
    outcome("HTTP client", lambda: first_of(HttpSource("gate", location, **LIMITS)))


@fuzz(0.01, answer=mutated_bytes([RTSP_HEAD, *HTTP]), scheme=st.sampled_from(["rtsp", "http"]))
def test_a_question_to_a_camera(answering: Answering, answer: bytes, scheme: str) -> None:
    answering.answer = answer
    location = split(f"{scheme}://127.0.0.1:{answering.port}/x")
    outcome("questions", lambda: ask(location, until=time.monotonic() + 3))


@pytest.fixture(scope="module")
def webhook(answering: Answering, tmp_path_factory: pytest.TempPathFactory) -> WebhookSink:
    secret: Path = tmp_path_factory.mktemp("webhook") / "secret"
    secret.write_bytes(b"whsec_" + base64.b64encode(bytes(32)))
    url = f"http://127.0.0.1:{answering.port}/hook"
    return WebhookSink(WebhookSettings(url=url, secret_file=secret, timeout_seconds=0.2))


@fuzz(0.01, answer=mutated_bytes(WEBHOOK) | st.binary(max_size=60))
def test_the_webhook(answering: Answering, webhook: WebhookSink, answer: bytes) -> None:
    answering.answer = answer
    event: Any = SimpleNamespace(id="1", to_json=lambda: b"{}")

    def send() -> None:
        with webhook.connect():
            (delivery,) = webhook.send([event], lambda _explain: True)
        assert delivery.reason.isprintable()
        assert 0.0 <= delivery.wait_seconds <= 300.0

    outcome("webhook", send)
