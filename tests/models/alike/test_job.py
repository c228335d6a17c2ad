"""The whole job on pictures of stripes: stages, resuming, and labels that nothing depends on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from picture_archives import write_stl10, write_stripes

from models.alike.features import embeddings_of, probabilities_of
from models.alike.job import train_simclr
from models.alike.pictures.picture_folders import read_picture_folder
from models.alike.pictures.picture_set import PictureData, PictureSet
from models.alike.pictures.stl10 import read_stl10
from models.alike.recipe import AlikeRecipe
from models.alike.trained import load_clusters, load_embedding
from models.jobs.errors import TrainingError

RECIPE = {
    "encoder": {"kind": "small", "channels": (8, 8, 16)},
    "weak": {"least_area": 0.6, "flip": False, "jitter": 0.5},
    "strong": {"flip": False, "changes": 1, "magnitude": 3, "cutout": 0.3},
    "contrast": {"values": 16, "optimisation": {"epochs": 5, "batch": 24, "learning_rate": 0.1}},
    "clustering": {
        "clusters": 3,
        "neighbours": 4,
        "heads": 2,
        "optimisation": {"optimiser": "adam", "epochs": 4, "batch": 24, "learning_rate": 0.01},
    },
    "self_labels": {
        "confidence": 0.5,
        "optimisation": {"optimiser": "adam", "epochs": 3, "batch": 24, "learning_rate": 0.01},
    },
    "watch_every": 2,
}
WEIGHTS = ("embedding.safetensors", "clusters.safetensors", "bank.safetensors")


def changed(**parts) -> AlikeRecipe:
    return AlikeRecipe.model_validate(RECIPE | parts)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PictureData:
    folder = tmp_path_factory.mktemp("stripes")
    write_stripes(folder, of_each=20)
    return read_picture_folder(folder, side=None, grey=True, judged=0.3)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stripes"
    lines: list[str] = []
    return train_simclr(data, changed(), out, seed=3, report=lines.append), out, lines


def test_every_stage_runs_once_and_then_is_unchanged(data, run):
    names = ["pretext", "bank", "clustering", "self_labels", "product"]
    assert run[2] == [f"{name}: runs" for name in names]
    again: list[str] = []
    train_simclr(data, changed(), run[1], seed=3, report=again.append)
    assert again == [f"{name}: unchanged" for name in names]


def test_another_part_of_the_recipe_runs_the_stages_behind_it_alone(data, run):
    lines: list[str] = []
    recipe = changed(self_labels=RECIPE["self_labels"] | {"confidence": 0.6})
    train_simclr(data, recipe, run[1], seed=3, report=lines.append)
    assert [line.partition(": ")[2] for line in lines] == ["unchanged"] * 3 + ["runs"] * 2
    train_simclr(data, changed(), run[1], seed=3)


def test_the_product_is_what_its_card_and_its_lists_say(data, run):
    product, card = run[0].product, run[0].card
    assert (card.size, card.values, card.clusters) == ((16, 16, 1), 16, 3)
    assert card.training["data"] == {"name": data.name, "learned": 42, "judged": 18}
    network, bank = load_embedding(product)
    np.testing.assert_array_equal(embeddings_of(network, data.learned), bank.features)
    assert bank.labels is not None
    right = bank.classify(embeddings_of(network, data.judged)) == data.judged.labels
    assert card.figures["neighbours"]["knn_accuracy"] == pytest.approx(right.mean(), abs=1e-4)
    assigned = json.loads((product / "clusters.json").read_text())
    clusters = load_clusters(product)
    assert assigned["judged"] == probabilities_of(clusters, data.judged).argmax(axis=1).tolist()
    assert assigned["learned"] == probabilities_of(clusters, data.learned).argmax(axis=1).tolist()
    page = (product / "clusters.md").read_text()
    assert f"| self-labelling | {card.figures['self_labels']['accuracy']:.3f} |" in page
    assert (product / "clusters.png").read_bytes().startswith(b"\x89PNG")


def test_kinds_that_are_easily_told_apart_become_clusters(run):
    """Stripes across, stripes down and squares: no cluster is given a label, and chance is a third."""
    figures = run[0].card.figures
    assert figures["neighbours"]["knn_accuracy"] > 0.9
    assert figures["self_labels"]["accuracy"] > 0.9
    assert figures["self_labels"]["clusters"] == 3


def test_the_watched_figures_are_those_of_whole_epochs(run):
    history = json.loads((run[1] / "pretext" / "pretext.json").read_text())["history"]
    assert [row["epoch"] for row in history if "knn_accuracy" in row] == [2, 4, 5]
    grouped = json.loads((run[1] / "clustering" / "clustering.json").read_text())["history"]
    last = grouped[-1]
    assert last["loss"] == pytest.approx((last["loss_of_head_0"] + last["loss_of_head_1"]) / 2, abs=1e-6)
    assert last["loss"] == pytest.approx(last["consistency"] - 5 * last["entropy"], abs=1e-5)


def test_labels_change_no_weight_and_no_cluster(data, run, tmp_path):
    shuffled = np.random.default_rng(0).permutation(data.learned.labels)
    other = replace(data, learned=PictureSet(data.learned.pixels, shuffled))
    bare = replace(data, learned=PictureSet(data.learned.pixels), judged=PictureSet(data.judged.pixels), classes=())
    products = [run[0].product]
    for name, changes in (("other", other), ("bare", bare)):
        outcome = train_simclr(changes, changed(), tmp_path / name, seed=3)
        products.append(outcome.product)
    assert outcome.card.figures == {}
    assert "no labels" in (outcome.product / "clusters.md").read_text()
    for file in WEIGHTS[:2]:
        assert len({(product / file).read_bytes() for product in products}) == 1, file
    assert len({(product / "clusters.json").read_text() for product in products}) == 1


@pytest.mark.parametrize("stage", ["pretext", "clustering", "self_labels"])
def test_a_stopped_job_continues_to_the_same_bytes(data, run, tmp_path, stage):
    class Stopped(Exception):
        pass

    def stop(name: str, done: int, _total: int) -> None:
        if (name, done) == (stage, 2):
            raise Stopped

    with pytest.raises(Stopped):
        train_simclr(data, changed(), tmp_path, seed=3, progress=stop)
    lines: list[str] = []
    seen: list[int] = []
    product = train_simclr(
        data,
        changed(),
        tmp_path,
        seed=3,
        report=lines.append,
        progress=lambda name, done, _total: seen.append(done) if name == stage else None,
    ).product
    assert f"{stage}: resumes" in lines
    assert seen[0] == 3
    for name in (*WEIGHTS, "clusters.json", "clusters.md", "clusters.png", "alike-card.json", "recipe.yaml"):
        assert (product / name).read_bytes() == (run[0].product / name).read_bytes(), name


def test_a_number_of_clusters_is_chosen_among_several(data, tmp_path):
    recipe = changed(clustering=RECIPE["clustering"] | {"clusters": (2, 3, 4)})
    card = train_simclr(data, recipe, tmp_path).card
    found = {int(number): value for number, value in card.training["silhouettes"].items()}
    assert set(found) == {2, 3, 4}
    assert card.clusters == max(found, key=found.get)


def test_pictures_without_labels_are_for_the_pretext_alone(tmp_path):
    write_stl10(tmp_path / "data", learned=10, judged=6, further=8)
    data = read_stl10(tmp_path / "data")
    recipe = changed(
        contrast={"values": 4, "optimisation": {"epochs": 1, "batch": 18}},
        clustering={"clusters": 2, "neighbours": 2, "optimisation": {"epochs": 1, "batch": 10}},
        self_labels={"optimisation": {"epochs": 1, "batch": 10}},
    )
    outcome = train_simclr(data, recipe, tmp_path / "run")
    assert outcome.card.training["data"]["learned"] == 10
    other = replace(data, unlabelled=PictureSet(255 - data.unlabelled.pixels))
    lines: list[str] = []
    train_simclr(other, recipe, tmp_path / "run", report=lines.append)
    assert lines[0] == "pretext: runs"


def test_too_few_pictures_end_before_any_training(data, tmp_path):
    few = replace(data, learned=data.learned.part(np.arange(4)))
    with pytest.raises(TrainingError, match="4 pictures to learn from are too few for 4 neighbours of each"):
        train_simclr(few, changed(), tmp_path / "run")
    many = changed(clustering=RECIPE["clustering"] | {"clusters": 42})
    with pytest.raises(TrainingError, match="42 pictures to learn from are too few for 42 clusters"):
        train_simclr(data, many, tmp_path / "run")
    assert not (tmp_path / "run").exists()
