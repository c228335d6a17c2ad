"""The description of a served model: read from a real Triton, and refused with one line where it does not fit."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, ServedModel, served_model
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

pytestmark = pytest.mark.realparts


def test_the_served_model_describes_itself(kit: Any, server: Any) -> None:
    expected = ServedModel("mean", "1", kit.clip, threshold=0.5, kernel=3)
    assert served_model(server.address) == expected
    with Scorer(server.address, [ScoredModel("clip_scorer", ClipSpec(4, 1, 16, 16, Fit.CROP))]) as scorer:
        assert scorer.check() == expected  # another stride is no other clip
        assert scorer.wait_ready(threading.Event()) == expected


def test_a_site_that_asks_for_other_clips_gets_one_line(kit: Any, server: Any) -> None:
    listener = kit.Listener()
    line = (
        "the served model mean (version 1) was trained with height 16, fit crop, fps native, the site asks for "
        "height 32, fit stretch, fps 12.5: leave out clip.height, clip.fit, clip.fps, or serve a model trained that way"
    )
    with Scorer(
        server.address, [ScoredModel("clip_scorer", ClipSpec(4, 4, 32, 16, Fit.STRETCH, 12.5))], listener=listener
    ) as scorer:
        with pytest.raises(ClipMismatch) as refused:
            scorer.check()
        assert str(refused.value) == line
        with pytest.raises(ClipMismatch):
            scorer.wait_ready(threading.Event())
        assert listener.said == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"clip_frames": ""}, "does not say which clips it was trained with (parameter 'clip_frames' is missing"),
        ({"clip_fit": "zoom"}, "'zoom' is not a valid Fit"),
        ({"clip_frames": "16"}, "takes CLIP [4, 16, 16, 3], but says that it was trained with [16, 16, 16, 3]"),
    ],
)
def test_a_model_that_does_not_say_its_clips_is_refused(
    kit: Any, server: Any, parameters: dict[str, str], message: str
) -> None:
    kit.repository(server.repository, "stranger", **parameters)
    server.load("stranger")
    try:
        with pytest.raises(ClipMismatch) as refused:
            served_model(server.address, "stranger")
    finally:
        server.unload("stranger")
    assert message in str(refused.value)
    assert f"the model stranger at {server.address}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_model_is_named(server: Any) -> None:
    with pytest.raises(ScorerUnavailable, match=f"Triton at {server.address} does not serve the model nobody"):
        served_model(server.address, "nobody")


def test_nobody_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, not listening: refuses
        with pytest.raises(ScorerUnavailable) as refused:
            served_model(address)
    assert str(refused.value) == f"Triton at {address} cannot be reached (connection refused)"


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(ScorerUnavailable, match=r"Triton at nowhere\.invalid:8001 cannot be reached \(no such host\)"):
        served_model("nowhere.invalid:8001")


def test_the_http_port_is_no_grpc_port(server: Any) -> None:
    with pytest.raises(ScorerUnavailable, match="cannot be reached"):
        served_model(server.http_address)


def test_somebody_who_never_answers() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        began = time.monotonic()
        with pytest.raises(ScorerUnavailable):
            served_model(f"127.0.0.1:{mute.getsockname()[1]}", timeout_seconds=0.5)
        assert time.monotonic() - began < 20
