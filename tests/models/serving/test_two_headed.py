"""The self-guided encoder as it is served: both engines, its heat, and Triton's configuration of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format

from models.backbones.i3d import load_i3d
from models.detectors.mist.encoder import AttentionEncoder, load_encoder, save_encoder
from models.detectors.mist.sga import SelfGuidedHeads
from models.serving.contract import EngineChoice, ScoredBatch
from models.serving.engine import Engine, open_engine
from models.serving.export import ExportError, export
from models.tensors import TensorsError

CLIP = (16, 64, 96, 3)


@pytest.fixture(scope="module")
def model(make_encoder: Callable[..., Path]) -> Path:
    return make_encoder()


@pytest.fixture(scope="module")
def repository(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two-headed")
    export(str(model), out, max_batch=2)
    return out


@pytest.fixture(scope="module")
def small_clips() -> np.ndarray:
    """A bright block that moves over noise: its place is another one in each clip."""
    clips = np.random.default_rng(7).integers(0, 60, (3, *CLIP), dtype=np.uint8)
    for number, clip in enumerate(clips):
        for t, frame in enumerate(clip):
            frame[10:40, 10 + 20 * number + t : 40 + 20 * number + t] += np.uint8(180)
    return clips


@pytest.fixture(scope="module")
def expected(model: Path, small_clips: np.ndarray) -> ScoredBatch:
    """By hand from the encoder itself: softmax of the calibrated logits, written as a sigmoid of their difference."""
    encoder, card = load_encoder(model)
    heads = encoder.heads
    with torch.inference_mode():
        early, late = encoder.backbone.maps(torch.from_numpy(small_clips))
        attention = heads.attention(early).attention  # (N, 1, 1, h, w)
        features = (late * (1 + attention)).mean(dim=(2, 3, 4))
        normal, anomaly = torch.nn.functional.linear(features, heads.weighted.weight, heads.weighted.bias).T
        scores = torch.sigmoid(card.architecture.slope * (anomaly - normal) + card.architecture.shift)
    assert np.ptp(scores.numpy()) > 0.01, "scores that are all alike would prove little"
    assert np.ptp(attention.numpy()) > 0.05
    return ScoredBatch(scores.numpy(), features.numpy(), attention[:, 0, 0].numpy())


@pytest.fixture(params=["openvino", "torch"])
def engine(request: pytest.FixtureRequest, repository: Path) -> Engine:
    return open_engine(request.param, repository / "clip_scorer" / "1", CLIP)


def test_both_engines_agree_with_the_encoder(engine: Engine, small_clips: np.ndarray, expected: ScoredBatch) -> None:
    scored = engine.score(small_clips)
    np.testing.assert_allclose(scored.scores, expected.scores, atol=1e-3, rtol=0)
    np.testing.assert_allclose(scored.features, expected.features, atol=1e-3, rtol=0)
    assert scored.heat is not None
    assert scored.heat.shape == (3, 2, 3)
    np.testing.assert_allclose(scored.heat, expected.heat, atol=1e-3, rtol=0)
    for array in scored:
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_the_configuration_names_the_heat_its_grid_and_its_meaning(repository: Path) -> None:
    config = text_format.Parse((repository / "clip_scorer" / "config.pbtxt").read_text(), pb.ModelConfig())
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
        ("SCORE", pb.TYPE_FP32, [1]),
        ("FEATURES", pb.TYPE_FP32, [1024]),
        ("HEAT", pb.TYPE_FP32, [2, 3]),
    ]
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    assert (parameters["family"], parameters["heat"]) == ("mist", "attention")


@pytest.mark.realparts
def test_triton_gives_the_heat_to_clients_that_request_it(
    repository: Path, small_clips: np.ndarray, expected: ScoredBatch
) -> None:
    import tritonclient.grpc as triton

    from deploy.triton.server import TritonServer
    from operators.heat_kind import HeatKind
    from pipeline.scoring.served_model import HeatMap, served_model

    tensor = triton.InferInput("CLIP", [2, *CLIP], "UINT8")
    tensor.set_data_from_numpy(small_clips[1:])
    with TritonServer(repository) as server, triton.InferenceServerClient(server.grpc_address) as client:
        assert served_model(server.grpc_address).heat == HeatMap(2, 3, HeatKind.ATTENTION)
        everything = client.infer("clip_scorer", [tensor], client_timeout=60)
        wanted = [triton.InferRequestedOutput("SCORE")]
        score_alone = client.infer("clip_scorer", [tensor], outputs=wanted, client_timeout=60)
    np.testing.assert_allclose(everything.as_numpy("SCORE")[:, 0], expected.scores[1:], atol=1e-3, rtol=0)
    np.testing.assert_allclose(everything.as_numpy("HEAT"), expected.heat[1:], atol=1e-3, rtol=0)
    assert [output.name for output in score_alone.get_response().outputs] == ["SCORE"]


def test_a_fine_tuned_backbone_comes_with_the_model(model: Path, small_clips: np.ndarray, tmp_path: Path) -> None:
    """Another backbone than the published one, whose weights are in the model's own file."""
    folder = Path(shutil.copytree(model, tmp_path / "tuned"))
    card = json.loads((folder / "model-card.json").read_text())
    card["architecture"]["fine_tuned"] = True
    encoder, told = load_encoder(model)
    backbone = load_i3d(classifier=False)
    with torch.no_grad():
        for name, weight in backbone.named_parameters():
            if name.endswith("conv.weight"):
                weight.mul_(0.9)
    heads = SelfGuidedHeads.from_card(told.architecture)
    heads.load_state_dict(encoder.heads.state_dict())
    tuned = AttentionEncoder(backbone, heads).eval()
    (folder / "encoder.safetensors").unlink()
    card["weights_sha256"] = save_encoder(tuned, folder)
    (folder / "model-card.json").write_text(json.dumps(card))
    served = open_engine("torch", export(str(folder), tmp_path / "out", engine=EngineChoice.TORCH) / "1", CLIP)
    with torch.inference_mode():
        expected = tuned(torch.from_numpy(small_clips[:1]))
        published = encoder(torch.from_numpy(small_clips[:1]))
    scored = served.score(small_clips[:1])
    np.testing.assert_allclose(scored.features, expected.features, atol=1e-4, rtol=0)
    assert np.abs(scored.features - published.features.numpy()).max() > 1e-2


def test_a_weighted_head_that_reads_both_maps(
    make_encoder: Callable[..., Path], small_clips: np.ndarray, tmp_path: Path
) -> None:
    folder = make_encoder("both", heads_options={"reads": ("early", "late"), "unit_length": True})
    exported = export(str(folder), tmp_path / "out") / "1"
    with torch.inference_mode():
        expected = load_encoder(folder)[0](torch.from_numpy(small_clips))
    scores = torch.softmax(expected.weighted, dim=1)[:, 1]
    for name in ("openvino", "torch"):
        scored = open_engine(name, exported, CLIP).score(small_clips)
        assert scored.features.shape == (3, 832 + 1024)
        np.testing.assert_allclose(scored.features, expected.features, atol=1e-4, rtol=0)
        np.testing.assert_allclose(scored.scores, scores, atol=1e-3, rtol=0)
    config = text_format.Parse((exported.parent / "config.pbtxt").read_text(), pb.ModelConfig())
    assert list(config.output[1].dims) == [832 + 1024]


def test_clips_that_are_too_short_for_attention_are_refused_in_one_line(
    make_encoder: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"clips of its model card do not suit.*at least 4 time steps") as refused:
        export(str(make_encoder("short", frames=8)), tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_of_other_heads_are_refused_by_name(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    card = json.loads((folder / "model-card.json").read_text())
    card["architecture"]["detectors"] = 8
    (folder / "model-card.json").write_text(json.dumps(card))
    with pytest.raises(TensorsError, match=r"encoder\.safetensors.*heads\.attention\.detect\.weight"):
        export(str(folder), tmp_path / "out")
