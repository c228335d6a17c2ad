"""Data sets of the rendered courtyard: what their labels say of its classes, and the same pictures each time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.places.courtyard_set import JUDGED, CourtyardSet, Sampling, courtyard_sets, nodes_of_classes
from models.places.tree import LabelTree, TreeError, read_tree
from operators.figures.segments import VOID
from pipeline.courtyard.segments import CLASSES

SEED = 4242  # divisible by 3: abandoned bags
FEW = Sampling(pictures=6, width=160)


@pytest.fixture(scope="module")
def tree(root: Path) -> LabelTree:
    return read_tree(root / "configs" / "places" / "courtyard.yaml")


@pytest.fixture(scope="module")
def sets(tree: LabelTree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CourtyardSet]:
    """Return each data set with pictures of the same two seeds, which one call refuses."""
    folder = tmp_path_factory.mktemp("courtyard")
    return {
        name: courtyard_sets(tree, {name: [SEED, SEED + 1]}, folder, sampling=FEW)[name]
        for name in (*tree.data_sets, JUDGED)
    }


def meanings(tree: LabelTree, name: str) -> dict[str, str | None]:
    found = nodes_of_classes(tree, name).tolist()
    return {one: None if at == VOID else tree.nodes[at] for one, at in zip(CLASSES, found, strict=True)}


class TestLabels:
    def test_of_coarse_masks_are_the_classes_of_the_root(self, tree: LabelTree) -> None:
        assert meanings(tree, "coarse") == {
            **dict.fromkeys(("paving", "walkway", "path", "lawn"), "ground"),
            **dict.fromkeys(("wall", "window", "door"), "building"),
            "plant": "plant",
            "lamp": "lamp",
            "person": "person",
            **dict.fromkeys(("umbrella", "dog", "bag"), "small thing"),
            **dict.fromkeys(("bicycle", "cart"), "vehicle"),
        }

    def test_of_fine_masks_leave_things_out(self, tree: LabelTree) -> None:
        things = ("person", "umbrella", "dog", "bag", "bicycle", "cart")
        assert meanings(tree, "fine") == {one: None if one in things else one for one in CLASSES}

    def test_of_boxes_are_things_below_the_root(self, tree: LabelTree) -> None:
        labelled = ("bicycle", "cart", "dog", "bag", "umbrella")
        assert meanings(tree, "boxes") == {one: one if one in labelled else None for one in CLASSES}

    def test_of_the_judged_pictures_are_all_leaves(self, tree: LabelTree) -> None:
        assert meanings(tree, JUDGED) == {one: one for one in CLASSES}

    def test_need_the_courtyards_classes_as_leaves(self, tree: LabelTree) -> None:
        classifiers = {**tree.classifiers, "small thing": ("dog", "bag")}
        boxes = tree.data_sets["boxes"].model_copy(update={"labels": ("bicycle", "cart", "dog", "bag")})
        other = LabelTree(classifiers, {**tree.data_sets, "boxes": boxes})
        with pytest.raises(TreeError, match="class umbrella of the courtyard: not a leaf of the label tree"):
            nodes_of_classes(other, "coarse")

    def test_of_an_unknown_set_are_refused(self, tree: LabelTree) -> None:
        with pytest.raises(TreeError, match="data set night: unknown to the label tree"):
            nodes_of_classes(tree, "night")


class TestPictures:
    def test_are_as_many_and_as_large_as_asked_for(self, sets: dict[str, CourtyardSet]) -> None:
        for name, own in sets.items():
            assert (own.name, len(own), own.of_boxes) == (name, 12, name == "boxes")
            for sample in map(own.sample, range(len(own))):
                assert (sample.picture.shape, sample.picture.dtype) == ((90, 160, 3), np.uint8)
                assert (sample.nodes.shape, sample.nodes.dtype) == ((90, 160), np.int64)
        shown = sets["coarse"].pictures
        assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in itertools.combinations(shown, 2))

    def test_of_coarse_masks_have_the_class_above_the_true_leaf(
        self, tree: LabelTree, sets: dict[str, CourtyardSet]
    ) -> None:
        above = np.array([tree.index[tree.path(node)[0]] for node in tree.nodes])
        for coarse, judged in zip(sets["coarse"].nodes, sets[JUDGED].nodes, strict=True):
            assert np.array_equal(coarse, np.where(judged == VOID, VOID, above[judged]))

    def test_of_fine_masks_have_the_true_leaf_of_places(self, tree: LabelTree, sets: dict[str, CourtyardSet]) -> None:
        thing = np.array([node in tree.things for node in tree.nodes])
        for fine, judged in zip(sets["fine"].nodes, sets[JUDGED].nodes, strict=True):
            assert np.array_equal(fine, np.where((judged == VOID) | thing[judged], VOID, judged))

    def test_of_boxes_have_rectangles_about_the_true_things(
        self, tree: LabelTree, sets: dict[str, CourtyardSet]
    ) -> None:
        labelled = {tree.index[name] for name in ("bicycle", "cart", "dog", "bag", "umbrella")}
        assert set(np.unique(sets["boxes"].nodes)) <= {VOID, *labelled}
        seen = 0
        for boxes, judged in zip(sets["boxes"].nodes, sets[JUDGED].nodes, strict=True):
            for node in labelled:
                true = judged == node
                if true.sum() < 40:
                    continue
                seen += 1
                # The box of a thing holds it but for places that a smaller box takes.
                assert (boxes[true] != VOID).all()
                assert (boxes == node).sum() > 0
        assert seen >= 6

    def test_show_what_is_rare(self, tree: LabelTree, sets: dict[str, CourtyardSet]) -> None:
        rare = {name: (sets[JUDGED].nodes == tree.index[name]).any(axis=(1, 2)).sum() for name in ("bag", "bicycle")}
        assert rare["bag"] >= 2  # of 6 pictures of the seed with bags
        assert rare["bicycle"] >= 1

    def test_have_no_class_at_the_time_stamp(self, sets: dict[str, CourtyardSet]) -> None:
        assert 0.01 < (sets[JUDGED].nodes == VOID).mean() < 0.03


class TestRendering:
    def test_gives_the_same_each_time(self, tree: LabelTree, sets: dict[str, CourtyardSet], tmp_path: Path) -> None:
        again = courtyard_sets(tree, {"boxes": [SEED, SEED + 1]}, tmp_path, sampling=FEW)["boxes"]
        assert again.digest == sets["boxes"].digest
        assert np.array_equal(again.pictures, sets["boxes"].pictures)
        other = courtyard_sets(tree, {"boxes": [SEED + 1, SEED]}, tmp_path, sampling=FEW)["boxes"]
        assert other.digest != again.digest

    def test_continues_after_an_interruption(
        self, tree: LabelTree, sets: dict[str, CourtyardSet], tmp_path: Path
    ) -> None:
        reported = []

        def stop(done: int, total: int) -> None:
            reported.append((done, total))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            courtyard_sets(tree, {"fine": [SEED, SEED + 1]}, tmp_path, sampling=FEW, progress=stop)
        (first,) = tmp_path.rglob("*.npz")
        before = first.stat().st_mtime_ns
        with pytest.raises(KeyboardInterrupt):  # the first seed is read, not rendered
            courtyard_sets(tree, {"fine": [SEED]}, tmp_path, sampling=FEW, progress=stop)
        found = courtyard_sets(tree, {"fine": [SEED, SEED + 1]}, tmp_path, sampling=FEW)["fine"]
        assert found.digest == sets["fine"].digest
        assert first.stat().st_mtime_ns == before
        assert reported == [(6, 12), (6, 6)]

    def test_of_other_pictures_does_not_take_those_kept(self, tree: LabelTree, tmp_path: Path) -> None:
        small, large = (
            courtyard_sets(tree, {"fine": [SEED]}, tmp_path, sampling=replace(FEW, pictures=1, width=width))["fine"]
            for width in (80, 160)
        )
        assert (small.pictures.shape, large.pictures.shape) == ((1, 45, 80, 3), (1, 90, 160, 3))

    def test_refuses_a_seed_of_two_sets(self, tree: LabelTree, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="seed 7 is used twice; expected different seeds for each data set"):
            courtyard_sets(tree, {"fine": [6, 7], JUDGED: [7]}, tmp_path)

    @pytest.mark.parametrize(
        ("wrong", "message"), [({"pictures": 0}, "pictures must be 1 to 64, got 0"), ({"width": 300}, "width must be")]
    )
    def test_refuses_impossible_pictures(self, wrong: dict[str, int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Sampling(**wrong)
