"""The whole job on pictures of coloured squares: it learns them, resumes, and refuses data that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import fresh_process
import numpy as np
import pytest
import torch
from place_squares import TREE, Squares, SquareSources

from models.card import CardError
from models.jobs.errors import TrainingError
from models.places.decision import decide
from models.places.job import train_places
from models.places.masks import MaskError
from models.places.recipe import Optimisation, PlacesRecipe
from models.places.trained import WEIGHTS_FILE, load_places
from models.places.training import learning_rate, number_of_steps

STAGES = ["pictures", "training", "judging", "product"]


def recipe(**changes) -> PlacesRecipe:
    """A small network that learns in a few seconds."""
    values = {
        "data": {"tree": "unused.yaml", "sets": {}},
        "channels": 32,
        "shares": {"masks": 2, "boxes": 2},
        "views": {"size": (48, 64), "crop": (48, 64), "zoom": (1.0, 1.2), "flip": True},
        "optimisation": {"optimiser": "adam", "steps": 70, "learning_rate": 0.003, "kept_every": 20},
    }
    return PlacesRecipe.model_validate(values | changes)


def short(steps: int = 5, **changes) -> PlacesRecipe:
    optimisation = {"optimiser": "sgd", "steps": steps, "learning_rate": 0.01, "kept_every": 2}
    return recipe(optimisation=optimisation | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "squares"
    lines: list[str] = []
    return train_places(SquareSources(), recipe(), out, seed=3, report=lines.append), out, lines


def test_colours_that_only_boxes_name_are_learned(run):
    """The boxes are wider than the squares: a network that believed all their pixels would be wrong around them."""
    figures = run[0].card.figures
    assert figures["only_boxed"]["mean_accuracy"] > 0.8
    assert figures["only_boxed"]["mean_iou"] > 0.7
    assert figures["levels"][0]["mean_iou"] > 0.8


def test_every_stage_runs_once_and_then_is_unchanged(run):
    assert run[2] == [f"{name}: runs" for name in STAGES]
    again: list[str] = []
    sources = SquareSources()
    train_places(sources, recipe(), run[1], seed=3, report=again.append)
    assert again == [f"{name}: unchanged" for name in STAGES]
    assert sources.prepared == 0


def test_the_product_is_what_its_card_says(run):
    card, network = load_places(run[0].product)
    assert card == run[0].card
    assert (card.kind, card.size, card.things, card.seed) == ("hierarchical", (48, 64), ("square",), 3)
    assert card.tree == TREE
    assert card.training["pictures"] == {"masks": 30, "boxes": 30}
    assert card.training["steps"] == 70
    assert not network.training
    judged = Squares("judged", 6, 3)
    right = []
    with torch.no_grad():
        for index in range(6):
            sample = judged.sample(index)
            decided = decide(card.tree, network(torch.from_numpy(sample.picture)[None]))[0].numpy()
            right.append(decided[sample.nodes == TREE.index["red"]] == TREE.index["red"])
    expected = card.figures["levels"][1]["classes"]["red"]["accuracy"]
    assert np.concatenate(right).mean() == pytest.approx(expected, abs=1e-4)
    picture = cv2.imread(str(run[0].product / "samples.png"))
    assert picture is not None
    assert "| red | " in (run[0].product / "places.md").read_text()


def test_the_flat_network_learns_from_the_same_batches_and_is_not_served(tmp_path):
    outcome = train_places(SquareSources(), recipe(kind="flat"), tmp_path, seed=3)
    assert outcome.card.kind == "flat"
    assert outcome.card.figures["levels"][0]["mean_iou"] > 0.7
    with pytest.raises(CardError, match="a flat network; expected a hierarchical one"):
        load_places(outcome.product)


def test_a_stopped_job_continues_to_the_same_bytes(tmp_path):
    class Stopped(Exception):
        pass

    def stop(name: str, done: int, _total: int) -> None:
        if (name, done) == ("training", 4):
            raise Stopped

    whole: list[tuple[str, int, int]] = []
    unbroken = train_places(SquareSources(), short(), tmp_path / "a", progress=lambda *step: whole.append(step))
    with pytest.raises(Stopped):
        train_places(SquareSources(), short(), tmp_path / "b", progress=stop)
    lines: list[str] = []
    rest: list[tuple[str, int, int]] = []
    outcome = train_places(
        SquareSources(), short(), tmp_path / "b", report=lines.append, progress=lambda *step: rest.append(step)
    )
    assert lines == ["pictures: unchanged", "training: resumes", "judging: runs", "product: runs"]
    assert [step[1:] for step in whole if step[0] == "training"] == [(2, 5), (4, 5), (5, 5)]
    assert [step[1:] for step in rest if step[0] == "training"] == [(5, 5)]
    for file in (WEIGHTS_FILE, "places-card.json", "samples.png"):
        assert (unbroken.product / file).read_bytes() == (outcome.product / file).read_bytes(), file


class Missing(Squares):
    """A set whose masks are gone."""

    def sample(self, index):
        raise MaskError("masks/7.png: no such file")


def trained_by_workers(folder: str) -> list[str]:
    """The digests of the weights without workers and with two, and the error of a training whose workers fail."""
    found = [
        train_places(SquareSources(), short(2, workers=workers), Path(folder) / str(workers)).card.weights_sha256
        for workers in (0, 2)
    ]
    try:
        sources = SquareSources(boxes=Missing("boxes", 3, 0))
        train_places(sources, short(2, workers=2), Path(folder) / "missing")
    except MaskError as error:
        found.append(str(error))
    return found


def test_workers_change_nothing_and_their_errors_are_one_line(tmp_path):
    alone, by_two, error = fresh_process.called(trained_by_workers, str(tmp_path))
    assert alone == by_two
    assert error == "masks/7.png: no such file"


def test_another_seed_gives_other_weights(run, tmp_path):
    hashes = {train_places(SquareSources(), short(2), tmp_path / str(seed), seed=seed).card.weights_sha256
              for seed in (0, 1)}  # fmt: skip
    assert len(hashes) == 2


def test_other_judged_pictures_do_not_train_again(tmp_path):
    train_places(SquareSources(), short(2), tmp_path)
    other = SquareSources()
    other.data = replace(other.data, judged=Squares("judged", 4, 9))
    lines: list[str] = []
    train_places(other, short(2), tmp_path, report=lines.append)
    assert lines == ["pictures: unchanged", "training: unchanged", "judging: runs", "product: runs"]


def test_a_training_without_judged_pictures_has_no_figures(tmp_path):
    sources = SquareSources()
    sources.data = replace(sources.data, judged=None)
    outcome = train_places(sources, short(2), tmp_path)
    assert outcome.card.figures == {}
    assert "no figures" in (outcome.product / "places.md").read_text()


def test_a_loss_that_is_not_finite_is_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"^step \d+: the loss is (nan|inf); lower learning_rate \(1e\+20\)$"):
        train_places(SquareSources(), short(9, learning_rate=1e20), tmp_path)


@pytest.mark.parametrize(
    ("sets", "shares", "line"),
    [
        ({"boxes": None}, None, "data set boxes: the label tree needs its pictures; expected it among data.sets"),
        ({}, {"masks": 1}, "data set boxes: has no share of a batch; expected it among shares"),
        ({"boxes": Squares("boxes", 0, 0)}, None, "data set boxes: has no pictures; expected at least one"),
        (
            {"boxes": Squares("masks", 3, 0)},
            None,
            "data set boxes: its pictures do not have the annotation boxes of the tree",
        ),
        (
            {},
            {"masks": 1, "boxes": 1, "signs": 1},
            "data set signs: unknown to the label tree; expected one of masks, boxes",
        ),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path, sets, shares, line):
    sources = SquareSources()
    changed = {**sources.data.sets, **sets}
    sources.data = replace(sources.data, sets={name: one for name, one in changed.items() if one is not None})
    with pytest.raises(TrainingError) as error:
        train_places(sources, recipe(**({"shares": shares} if shares else {})), tmp_path)
    assert str(error.value) == line


def test_the_rate_is_halved_after_equal_parts():
    of = Optimisation(steps=8, learning_rate=0.8, halvings=3)
    assert [learning_rate(of, step, 8) for step in range(8)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


def test_epochs_are_of_the_largest_data_set():
    """17 epochs of 7 pictures, 2 a step: 59.5 steps, rounded up."""
    sets = {"masks": Squares("masks", 5, 0), "boxes": Squares("boxes", 7, 0)}
    assert number_of_steps(Optimisation(epochs=17), sets, {"masks": 1, "boxes": 2}) == 60
    assert number_of_steps(Optimisation(steps=9), sets, {"masks": 1, "boxes": 2}) == 9
