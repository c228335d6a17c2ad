"""Several served models side by side in one repository, the built-in ones behind a real Triton."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import tritonclient.grpc as triton

from deploy.triton.server import TritonError, TritonServer
from models.card import BUILT_IN, read_card
from models.serving.contract import EngineChoice
from models.serving.engine import open_engine
from models.serving.export import export
from models.serving.versions import served_models

NAMES = ("courtyard", "fights")

pytestmark = pytest.mark.realparts


@pytest.fixture(scope="module")
def both(i3d: object, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]) -> Path:
    """A repository with both built-in models, each under its own name."""
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    out = tmp_path_factory.mktemp("both")
    for name in NAMES:
        export(name, out, name=name, engine=EngineChoice.OPENVINO, max_batch=1)
    return out


def test_both_answer_through_one_triton_each_with_its_own_clips(both: Path) -> None:
    assert tuple(served_models(both)) == NAMES
    scores, sizes = {}, set()
    with TritonServer(both) as server, triton.InferenceServerClient(server.grpc_address) as client:
        assert server.models == NAMES
        for name in NAMES:
            clip = read_card(BUILT_IN / name).clip
            shape = (clip.frames, clip.height, clip.width, 3)
            sizes.add(shape)
            clips = np.random.default_rng(5).integers(0, 256, (1, *shape), dtype=np.uint8)
            tensor = triton.InferInput("CLIP", list(clips.shape), "UINT8")
            tensor.set_data_from_numpy(clips)
            answer = client.infer(name, [tensor], client_timeout=120)
            scores[name] = (answer.as_numpy("SCORE")[:, 0], clips, shape)
    assert len(sizes) == 2
    for name, (score, clips, shape) in scores.items():
        expected = open_engine("openvino", both / name / "1", shape).score(clips)
        np.testing.assert_allclose(score, expected.scores, atol=1e-5, rtol=0)


def test_a_model_that_does_not_load_is_one_line(both: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).symlink_to(both / name)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    config = (both / "fights" / "config.pbtxt").read_text().replace('name: "fights"', 'name: "broken"', 1)
    (tmp_path / "broken" / "config.pbtxt").write_text(config)
    for module in (both / "fights" / "1").glob("*.py"):
        (tmp_path / "broken" / "1" / module.name).write_bytes(module.read_bytes())
    server = TritonServer(tmp_path)
    with pytest.raises(TritonError) as refused:
        server.start(240)
    assert not server.alive()
    assert "broken" in str(refused.value)
    assert "scorer.xml" in str(refused.value)
    assert "\n" not in str(refused.value)
