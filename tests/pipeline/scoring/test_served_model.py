"""The description of a served model: read from a real Triton, and refused with one line where it does not fit."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from tritonclient.utils import InferenceServerException

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.errors import MistwatchError
from pipeline.scoring.scorer import ScoredModel, Scorer, wait_for_model
from pipeline.scoring.served_model import (
    ClipMismatch,
    HeatMap,
    NotLoaded,
    ScorerUnavailable,
    ServedModel,
    Trouble,
    dead_backbone,
    diagnose,
    served_model,
)
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec

pytestmark = [pytest.mark.realparts, pytest.mark.waits]


def test_the_served_model_describes_itself(kit: Any, server: Any) -> None:
    expected = ServedModel("mean", "1", kit.clip, threshold=0.5, kernel=3, features=4)
    assert served_model(server.address) == expected
    with Scorer(server.address, [ScoredModel("clip_scorer", ClipSpec(4, 1, 16, 16, Fit.CROP))]) as scorer:
        assert scorer.check() == expected  # another stride does not matter
    assert wait_for_model(server.address, "clip_scorer", threading.Event()) == expected


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


def refusal(server: Any, model: str, change: tuple[str, str]) -> str:
    """Change the configuration of a model in the repository, and return the one line with which it is refused."""
    config = server.repository / model / "config.pbtxt"
    text = config.read_text()
    assert change[0] in text
    config.write_text(text.replace(*change))
    server.load(model)
    try:
        with pytest.raises(ClipMismatch) as refused:
            served_model(server.address, model)
    finally:
        server.unload(model)
    line = str(refused.value)
    assert f"the model {model} at {server.address}" in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("heat", "change", "message"),
    [
        pytest.param(
            "attention",
            (', { name: "HEAT" data_type: TYPE_FP32 dims: [ 2, 2 ] }', ""),
            "promises HEAT (parameter heat: attention) but has no such output",
            id="promised and missing",
        ),
        pytest.param(
            "anomaly",
            ('parameters { key: "heat" value { string_value: "anomaly" } }', ""),
            "has an output HEAT but does not say what it means (parameter 'heat' is missing in its config.pbtxt; "
            "expected attention or anomaly)",
            id="there and not promised",
        ),
        pytest.param("warmth", ("", ""), "'warmth' is not a valid HeatKind", id="of an unknown kind"),
        pytest.param(
            "anomaly", ("dims: [ 2, 2 ]", "dims: [ 2 ]"), "HEAT [2], expected rows and columns", id="of another shape"
        ),
    ],
)
def test_a_model_that_contradicts_itself_about_heat_is_refused(
    kit: Any, server: Any, heat: str, change: tuple[str, str], message: str
) -> None:
    kit.repository(server.repository, "hot", heat=heat)
    assert message in refusal(server, "hot", change)


@pytest.mark.parametrize(
    ("scene", "change", "message"),
    [
        pytest.param(
            "clip",
            (', { name: "SCENE" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] optional: true }', ""),
            "reads a scene (parameter scene: clip) but has no input SCENE",
            id="promised and missing",
        ),
        pytest.param(
            "background",
            ('parameters { key: "scene" value { string_value: "background" } }', ""),
            "has an input SCENE but does not say which scene it reads (parameter 'scene' is missing in its "
            "config.pbtxt; expected clip or background)",
            id="there and not promised",
        ),
        pytest.param("long", ("", ""), "'long' is not a valid SceneKind", id="of an unknown kind"),
        pytest.param(
            "clip",
            ('"SCENE" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ]', '"SCENE" data_type: TYPE_UINT8 dims: [ 8, 16, 3 ]'),
            "takes SCENE TYPE_UINT8 [8, 16, 3], optional, expected TYPE_UINT8 [16, 16, 3], optional",
            id="of another size",
        ),
        pytest.param(
            "clip",
            (" optional: true", ""),
            "takes SCENE TYPE_UINT8 [16, 16, 3], expected TYPE_UINT8 [16, 16, 3], optional",
            id="required",
        ),
        pytest.param(
            "clip",
            ('"SCENE" data_type: TYPE_UINT8', '"SCENE" data_type: TYPE_FP32'),
            "takes SCENE TYPE_FP32 [16, 16, 3], optional, expected TYPE_UINT8",
            id="of another type",
        ),
    ],
)
def test_a_model_that_contradicts_itself_about_its_scene_is_refused(
    kit: Any, server: Any, scene: str, change: tuple[str, str], message: str
) -> None:
    kit.repository(server.repository, "still", scene=scene)
    assert message in refusal(server, "still", change)


def with_mask(tensor: str) -> tuple[str, str]:
    """Return the change of a configuration that adds an input after CLIP."""
    clip = '{ name: "CLIP" data_type: TYPE_UINT8 dims: [ 4, 16, 16, 3 ] }'
    return clip, f'{clip}, {{ name: "MASK" {tensor} }}'


@pytest.mark.parametrize(
    ("heat", "tensor", "message"),
    [
        ("anomaly", "data_type: TYPE_UINT8 dims: [ 2, 3 ] optional: true", "takes MASK TYPE_UINT8 [2, 3], optional"),
        ("anomaly", "data_type: TYPE_BOOL dims: [ 2, 2 ] optional: true", "takes MASK TYPE_BOOL [2, 2], optional"),
        ("anomaly", "data_type: TYPE_UINT8 dims: [ 2, 2 ]", "takes MASK TYPE_UINT8 [2, 2], expected"),
        (
            "attention",
            "data_type: TYPE_UINT8 dims: [ 2, 2 ] optional: true",
            "has an input MASK but no output HEAT of the kind 'anomaly'",
        ),
        (
            "",
            "data_type: TYPE_UINT8 dims: [ 2, 2 ] optional: true",
            "has an input MASK but no output HEAT of the kind 'anomaly'",
        ),
    ],
    ids=["size", "type", "required", "attention", "no heat"],
)
def test_a_mask_that_does_not_suit_the_heat_is_refused(
    kit: Any, server: Any, heat: str, tensor: str, message: str
) -> None:
    kit.repository(server.repository, "hiding", heat=heat)
    line = refusal(server, "hiding", with_mask(tensor))
    assert message in line
    if "takes MASK" in message:
        assert "expected TYPE_UINT8 [2, 2], optional: serve one written by `mistwatch export`" in line


@pytest.mark.parametrize("takes", [True, False])
def test_a_model_says_that_it_takes_a_mask(kit: Any, server: Any, takes: bool) -> None:
    config = kit.repository(server.repository, "hiding", heat="anomaly") / "hiding" / "config.pbtxt"
    if takes:
        text = config.read_text()
        before, after = with_mask("data_type: TYPE_UINT8 dims: [ 2, 2 ] optional: true")
        assert before in text
        config.write_text(text.replace(before, after))
    server.load("hiding")
    try:
        assert served_model(server.address, "hiding").takes_mask is takes
    finally:
        server.unload("hiding")


@pytest.mark.parametrize("kind", list(SceneKind))
def test_a_model_says_which_scene_it_reads(kit: Any, server: Any, kind: SceneKind) -> None:
    kit.repository(server.repository, "still", scene=kind.value)
    server.load("still")
    try:
        assert served_model(server.address, "still").scene is kind
    finally:
        server.unload("still")


@pytest.mark.parametrize(("scores", "rarity"), [("", False), ("rarity", True), ("of another kind", False)])
def test_a_model_says_that_its_scores_are_rarities(kit: Any, server: Any, scores: str, rarity: bool) -> None:
    kit.repository(server.repository, "own", scores=scores)
    server.load("own")
    try:
        assert served_model(server.address, "own").rarity is rarity
    finally:
        server.unload("own")


@pytest.mark.parametrize("output", ["", '{ name: "SCORE" data_type: TYPE_FP32 dims: [ 2 ] },'])
def test_a_model_without_a_score_is_refused(kit: Any, server: Any, output: str) -> None:
    config = kit.repository(server.repository, "mute") / "mute" / "config.pbtxt"
    score = '{ name: "SCORE" data_type: TYPE_FP32 dims: [ 1 ] },'
    text = config.read_text()
    assert score in text
    config.write_text(text.replace(score, output))
    server.load("mute")
    try:
        with pytest.raises(ClipMismatch) as refused:
            served_model(server.address, "mute")
    finally:
        server.unload("mute")
    assert str(refused.value) == (
        f"the model mute at {server.address} has no output SCORE of one number: serve one written by `mistwatch export`"
    )


@pytest.mark.parametrize("kind", list(HeatKind))
def test_a_model_says_what_its_heat_means(kit: Any, server: Any, kind: HeatKind) -> None:
    kit.repository(server.repository, "hot", heat=kind.value)
    server.load("hot")
    try:
        assert served_model(server.address, "hot").heat == HeatMap(2, 2, kind)
    finally:
        server.unload("hot")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClipMismatch("other clips"), 2),
        (ScorerUnavailable(Trouble.UNREACHABLE, "no server"), 1),
        (NotLoaded(Trouble.FAILED, "out of memory"), 1),
    ],
)
def test_errors_carry_the_exit_status(error: MistwatchError, status: int) -> None:
    assert isinstance(error, MistwatchError)
    assert error.exit_status == status


def test_an_unknown_model_is_named(server: Any) -> None:
    with pytest.raises(ScorerUnavailable, match=f"Triton at {server.address} does not serve the model absent"):
        served_model(server.address, "absent")


def test_an_address_without_a_server() -> None:
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


def test_a_server_that_never_answers() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        began = time.monotonic()
        with pytest.raises(ScorerUnavailable):
            served_model(f"127.0.0.1:{mute.getsockname()[1]}", timeout_seconds=0.5)
        assert time.monotonic() - began < 20


def test_the_cause_of_a_failure_is_given_whole() -> None:
    """Triton names the cure at the end of a long text; a Python stack below it is no part of that."""
    cure = "If you are running Triton inside docker, use '--shm-size' flag to control the shared memory region size."
    words = (
        "Failed to increase the shared memory pool size for key 'triton_python_backend_shm_region_71c6c88b-43d1-c4a2' "
        f"to 1048576 bytes. {cure} Error: No space left on device"
    )
    error = InferenceServerException(f"{words}\n\nAt:\n  model.py(46): execute\n", status="StatusCode.INTERNAL")
    assert diagnose(error, "gpu:8001", "clip_scorer") == (Trouble.FAILED, f"Triton at gpu:8001: {words}")


def test_a_dead_process_is_that_of_the_shared_backbone_where_triton_names_it() -> None:
    dead = "scoring failed: the served model backbone_i3d_0_12ab does not answer: Stub process '{}_0_0' is not healthy."
    for name, backbone in {"backbone_i3d_0_12ab": "backbone_i3d_0_12ab", "clip_scorer": ""}.items():
        error = InferenceServerException(dead.format(name), status="StatusCode.INTERNAL")
        trouble, line = diagnose(error, "gpu:8001", "clip_scorer")
        assert (trouble, dead_backbone(error)) == (Trouble.STUB_DIED, backbone)
        assert f"the process of the model {name} has died" in line
