"""A model of places in a repository: what is written, what its network decides, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trees import three_levels
from tiny_embedder import write_embedder
from tiny_motion import motion_model
from tiny_places import PATHS, classes_by_torch, noise, write_places
from torch import Tensor, nn

from models.alike.served.export import export_embedding
from models.card import CardError
from models.engines.openvino import OpenVinoNetwork
from models.engines.openvino_convert import Input, to_openvino
from models.places.decision import decide
from models.places.served.card import find_places_model, read_served_card, version_of
from models.places.served.deciding import DecidingNetwork
from models.places.served.export import ensure_places_repository, export_places
from models.places.tree import DataSet, LabelTree
from models.serving import versions
from models.serving.export import ExportError, export
from models.serving.parts import read_parameters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_places(tmp_path_factory.mktemp("places") / "model")


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    return export_places(model, model.parent / "out")


class Logits(nn.Module):
    """Takes a picture's channels, scaled in three ways, for the logits of a tree of two classes each."""

    def __init__(self, tree: LabelTree) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(4)
        self.scales = {
            name: torch.randn(len(children), 3, generator=random) for name, children in tree.classifiers.items()
        }

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        values = pictures.float() - 127.5
        return {name: (values @ scale.T).permute(0, 3, 1, 2) for name, scale in self.scales.items()}


class TestDecision:
    def test_the_graph_decides_as_the_rule_does_on_random_logits(self) -> None:
        tree = three_levels()
        network = Logits(tree)
        converted = to_openvino(DecidingNetwork(network, tree), {"PICTURE": Input((24, 32, 3))}, ("CLASSES",))
        pictures = np.random.default_rng(2).integers(0, 256, (3, 24, 32, 3), np.uint8)
        found = OpenVinoNetwork(converted).run(pictures)["CLASSES"]
        expected = decide(tree, network(torch.from_numpy(pictures))).numpy()
        assert np.array_equal(found, expected)
        assert set(np.unique(expected)) == {tree.index[leaf] for leaf in tree.leaves}

    def test_the_exported_network_decides_as_torch_does(self, model: Path, exported: Path) -> None:
        network = OpenVinoNetwork(exported / "1" / "places.xml")
        seen: set[int] = set()
        for seed in range(4):
            expected = classes_by_torch(model, noise(seed))
            assert (network.run(noise(seed)[None])["CLASSES"][0] == expected).mean() >= 0.99
            seen |= {*np.unique(expected)}
        assert len(seen) >= 3, "or it would decide nothing"

    def test_more_nodes_than_a_byte_holds_are_refused(self) -> None:
        names = tuple(f"class {number}" for number in range(256))
        tree = LabelTree({"root": names}, {"all": DataSet(annotation="masks", labels=names)})
        with pytest.raises(ValueError, match=r"^the label tree has too many classes \(got 256\); expected 255$"):
            DecidingNetwork(nn.Identity(), tree)


class TestRepository:
    def test_the_files_and_what_a_client_must_know(self, model: Path, exported: Path) -> None:
        assert sorted(file.name for file in (exported / "1").iterdir()) == [
            "NOTICE", "config.pbtxt", "model-card.json", "model.py", "openvino_engine.py", "places.bin", "places.xml",
            "precision.py", "triton_tensors.py",
        ]  # fmt: skip
        card = read_served_card(exported)
        parameters = read_parameters((exported / "config.pbtxt").read_text())
        assert tuple(tuple(path) for path in json.loads(parameters.pop("nodes"))) == PATHS
        assert parameters == {
            "name": "places-tiny",
            "places": f"places-tiny/{card.weights_sha256[:16]}",
            "things": "[3, 4, 5]",  # front, and what is below it
            "weights_sha256": card.weights_sha256,
        }
        assert version_of(card) == parameters["places"]
        assert list(exported.parent.iterdir()) == [exported], "no drafts stay behind"

    def test_a_version_folder_needs_nothing_of_ours_and_no_torch(self, exported: Path) -> None:
        for module in (exported / "1").glob("*.py"):
            imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", module.read_text(), re.MULTILINE)
            assert not {name.split(".")[0] for name in imported} & {"models", "operators", "pipeline", "torch"}

    def test_the_next_version_and_back(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        first = export_places(model, out, name="yard")
        tree = LabelTree({"root": ("day", "night")}, {"all": DataSet(annotation="masks", labels=("day", "night"))})
        other = write_places(tmp_path / "next", seed=1, tree=tree, things=())
        export_places(other, out, name="yard")
        assert (versions.versions(first), versions.served(first)) == ([1, 2], 2)
        parameters = read_parameters((first / "config.pbtxt").read_text())
        assert (parameters["nodes"], parameters["things"]) == ('[["day"], ["night"]]', "[]")
        assert versions.roll_back(first) == 1
        assert len(json.loads(read_parameters((first / "config.pbtxt").read_text())["nodes"])) == 6
        export_places(model, out, name="yard", replace=True)
        assert versions.versions(first) == [3]

    def test_names_with_quotes_and_letters_of_any_script_survive(self, tmp_path: Path) -> None:
        names = ('the "old" gate\\', "Straße 道")
        tree = LabelTree({"root": names}, {"all": DataSet(annotation="masks", labels=names)})
        target = export_places(write_places(tmp_path / "model", tree=tree, things=()), tmp_path / "out")
        parameters = read_parameters((target / "config.pbtxt").read_text())
        assert json.loads(parameters["nodes"]) == [[name] for name in names]

    def test_the_cache_keeps_it(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "cache"))
        where = ensure_places_repository(model)
        written = (where / "places" / "1" / "places.bin").stat().st_mtime_ns
        assert ensure_places_repository(model) == where
        assert (where / "places" / "1" / "places.bin").stat().st_mtime_ns == written

    def test_a_model_is_found_by_its_folder(self, model: Path, tmp_path: Path) -> None:
        assert find_places_model(str(model)) == model
        assert find_places_model(str(tmp_path)) is None


class TestRefused:
    @pytest.mark.parametrize("replace", [False, True])
    def test_names_of_other_kinds(self, model: Path, tmp_path: Path, replace: bool) -> None:
        out = tmp_path / "out"
        detector = motion_model(tmp_path / "gate", "gate-motion")
        embedding = write_embedder(tmp_path / "alike")
        gate, alike = export(str(detector), out, name="gate"), export_embedding(embedding, out)
        places = export_places(model, out)
        before = {file: file.read_bytes() for file in out.glob("*/config.pbtxt")}
        for write, line in (
            (lambda: export_places(model, out, name="gate", replace=replace),
             f"{gate} serves a detector, and {model} is a model of places: name another --as"),
            (lambda: export_places(model, out, name="alike", replace=replace),
             f"{alike} serves embeddings, and {model} is a model of places: name another --as"),
            (lambda: export_embedding(embedding, out, name="places", replace=replace),
             f"{places} serves places, and {embedding} is an embedding model: name another --as"),
            (lambda: export(str(detector), out, name="places", replace=replace),
             f"{places} serves places, and {detector} is a detector: name another --as"),
        ):  # fmt: skip
            with pytest.raises(ExportError, match=f"^{re.escape(line)}$"):
                write()
        assert {file: file.read_bytes() for file in out.glob("*/config.pbtxt")} == before

    def test_a_flat_network_is_not_served(self, tmp_path: Path) -> None:
        flat = write_places(tmp_path / "model", kind="flat")
        with pytest.raises(CardError, match="a flat network; expected a hierarchical one"):
            export_places(flat, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_one_line(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        with pytest.raises(ExportError, match=r"cannot write .*out: "):
            export_places(model, tmp_path / "out")
