"""Label trees: the paper's against its flat list, small ones by hand, and a line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.places.tree import LabelTree, TreeError, read_tree
from operators.figures.segments import VOID
from pipeline.courtyard.segments import CLASSES

PAPER = Path("configs/places/meletis-2018.yaml")
COURTYARD = Path("configs/places/courtyard.yaml")

SMALL = """
classifiers:
  root: [way, sky, thing]
  way: [road, bike lane]
  thing: [car, cart]
data_sets:
  coarse:
    annotation: masks
    labels: [unlabelled, road, sky, thing]
    means: {unlabelled: null, road: way}
  fine:
    annotation: masks
    labels: [bike lane, road]
  boxes:
    annotation: boxes
    labels: [car, cart]
"""


def tree_of(tmp_path: Path, text: str) -> LabelTree:
    file = tmp_path / "tree.yaml"
    file.write_text(text)
    return read_tree(file)


class TestTheTreeOfThePaper:
    def test_has_its_levels(self, root: Path) -> None:
        tree = read_tree(root / PAPER)
        sizes = {name: len(children) for name, children in tree.classifiers.items()}
        assert sizes == {"root": 53, "driveable": 10, "rider": 3, "traffic sign": 2, "Traffic Sign (Front)": 43}
        assert [tree.level(name) for name in tree.classifiers] == [1, 2, 2, 2, 3]
        assert tree.path("o_stop") == ("traffic sign", "Traffic Sign (Front)", "o_stop")
        assert not tree.resolved

    def test_has_the_classes_of_the_flat_list(self, root: Path, data: Path) -> None:
        flat = json.loads((data / "hierarchy" / "training_problem_def.json").read_text())["cids2labels"]
        tree = read_tree(root / PAPER)
        assert set(tree.nodes) - {"driveable", "rider", "traffic sign"} == set(flat) - {"Unlabeled"}
        assert list(tree.data_sets["vistas"].labels) == [*flat[:65], "Unlabeled"]
        assert list(tree.data_sets["gtsdb"].labels) == flat[65:108]


class TestASmallTree:
    def test_knows_its_nodes(self, tmp_path: Path) -> None:
        tree = tree_of(tmp_path, SMALL)
        assert tree.nodes == ("way", "sky", "thing", "road", "bike lane", "car", "cart")
        assert tree.leaves == ("sky", "road", "bike lane", "car", "cart")
        assert (tree.depth, tree.level("root"), tree.level("thing")) == (2, 1, 2)
        assert tree.node_of_labels("coarse").tolist() == [VOID, 0, 1, 2]
        assert tree.node_of_labels("fine").tolist() == [4, 3]

    def test_knows_the_class_of_each_node(self, tmp_path: Path) -> None:
        tree = tree_of(tmp_path, SMALL)
        assert tree.class_of_nodes("root").tolist() == [0, 1, 2, 0, 0, 2, 2]
        assert tree.class_of_nodes("thing").tolist() == [VOID, VOID, VOID, VOID, VOID, 0, 1]

    def test_knows_the_classes_of_a_level(self, tmp_path: Path) -> None:
        tree = tree_of(tmp_path, SMALL)
        names, classes = tree.classes_at(1)
        assert (names, classes.tolist()) == (("way", "sky", "thing"), [0, 1, 2, 0, 0, 2, 2])
        names, classes = tree.classes_at(2)
        assert names == ("sky", "road", "bike lane", "car", "cart")
        assert classes.tolist() == [VOID, 0, VOID, 1, 2, 3, 4]  # way and thing are not told apart there
        with pytest.raises(ValueError, match="level must be 1 to 2, got 3"):
            tree.classes_at(3)

    def test_sorts_parents_before_children(self, tmp_path: Path) -> None:
        text = SMALL.replace("  root: [way, sky, thing]\n", "").replace(
            "  thing: [car, cart]\n", "  thing: [car, cart]\n  root: [way, sky, thing]\n"
        )
        assert list(tree_of(tmp_path, text).classifiers) == ["root", "way", "thing"]

    def test_refuses_an_unknown_data_set(self, tmp_path: Path) -> None:
        with pytest.raises(TreeError, match="data set night: unknown to the label tree; expected one of coarse, fine"):
            tree_of(tmp_path, SMALL).node_of_labels("night")


class TestThings:
    def test_are_all_nodes_below_those_named(self, tmp_path: Path) -> None:
        assert tree_of(tmp_path, SMALL).things == frozenset()
        assert tree_of(tmp_path, SMALL + "things: [thing]").things == {"thing", "car", "cart"}
        assert tree_of(tmp_path, SMALL + "things: [bike lane, car]").things == {"bike lane", "car"}

    def test_are_also_the_classes_that_resolve_a_label(self, tmp_path: Path) -> None:
        assert tree_of(tmp_path, ROAD_TWICE + "things: [road]").things == {"road", "bike lane", "road (other)"}

    def test_of_the_paper_are_people_animals_and_vehicles(self, root: Path) -> None:
        things = read_tree(root / PAPER).things
        assert {"Person", "Bicyclist", "Bird", "Car", "On Rails"} <= things
        assert things.isdisjoint({"Road", "Building", "Traffic Sign (Front)", "o_stop", "Bench", "Ego Vehicle"})

    @pytest.mark.parametrize(
        ("things", "message"),
        [
            ("[root]", "things: root is the first classifier; expected a class of a classifier"),
            ("[lawn]", "things: unknown node (got lawn); expected a class of a classifier"),
            ("[car, thing]", "things: node car is below thing, a thing already; remove it"),
            ("[car, car]", "things: node car stands 2 times; expected once"),
        ],
    )
    def test_that_cannot_be_are_one_clear_line(self, tmp_path: Path, things: str, message: str) -> None:
        with pytest.raises(TreeError) as error:
            tree_of(tmp_path, f"{SMALL}things: {things}")
        assert str(error.value) == f"{tmp_path / 'tree.yaml'}: {message}"


class TestTheTreeOfTheCourtyard:
    def test_has_leaves_that_are_the_classes_of_its_pixels(self, root: Path) -> None:
        assert set(read_tree(root / COURTYARD).leaves) == set(CLASSES)

    def test_knows_the_things(self, root: Path) -> None:
        tree = read_tree(root / COURTYARD)
        assert tree.things - set(tree.classifiers) == set(CLASSES[CLASSES.index("person") :])

    def test_has_two_nodes_whose_classes_boxes_alone_tell_apart(self, root: Path) -> None:
        tree = read_tree(root / COURTYARD)
        of_masks = {node for one in tree.data_sets.values() if one.annotation == "masks" for node in one.nodes}
        for node in ("vehicle", "small thing"):
            assert of_masks.isdisjoint(tree.classifiers[node])


ROAD_TWICE = """
classifiers:
  root: [road, sky]
  road: [bike lane]
data_sets:
  coarse: {annotation: masks, labels: [road, sky]}
  fine: {annotation: masks, labels: [road, bike lane, sky]}
"""


class TestALabelThatIsParentAndChild:
    def test_gets_a_class_below_the_intermediate_node(self, tmp_path: Path) -> None:
        tree = tree_of(tmp_path, ROAD_TWICE)
        assert tree.classifiers["road"] == ("bike lane", "road (other)")
        assert [tree.nodes[at] for at in tree.node_of_labels("coarse")] == ["road", "sky"]
        assert [tree.nodes[at] for at in tree.node_of_labels("fine")] == ["road (other)", "bike lane", "sky"]
        assert tree.resolved == (
            "data set fine: label road stands beside bike lane; it means the new class road (other)",
        )

    def test_is_a_conflict_where_it_may_contain_a_class(self, tmp_path: Path) -> None:
        text = ROAD_TWICE.replace("[bike lane]\n", "[bike lane, crossing]\n")
        text += "  third: {annotation: masks, labels: [crossing]}\n"
        with pytest.raises(TreeError) as error:
            tree_of(tmp_path, text)
        (line,) = str(error.value).splitlines()
        assert "data set fine: conflict: label road means road, and label bike lane a class below it" in line
        assert "it may contain crossing, which this data set does not label" in line

    def test_is_not_one_where_every_data_set_has_it_as_a_parent(self, tmp_path: Path) -> None:
        assert tree_of(tmp_path, SMALL).resolved == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  way: [road, bike lane]",
            "  way: [road, bike lane]\n  a: [b, c]\n  b: [a, d]",
            "a cycle (a below b below a)",
        ),
        ("[way, sky, thing]", "[way, sky, thing, sky]", "node sky: stands 2 times among the classes"),
        ("[car, cart]\nd", "[car, cart, road]\nd", "node road: stands 2 times among the classes; expected one parent"),
        ("[bike lane, road]", "[bike lane, road, road]", "data set fine: label road stands 2 times; expected once"),
        ("labels: [bike lane, road]", "labels: [bike lane, lawn]", "label lawn means an unknown node (got lawn)"),
        ("  thing: [", "  things: [", "classifier things: unknown node"),
        ("[road, bike lane]", "[road, bike lane, lawn]", "class lawn: nothing supervises it"),
        ("[way, sky, thing]", "[way, sky, thing, lawn]", "class lawn: has no dense labels"),
        ("labels: [car, cart]", "labels: [car, cart, sky]", "label sky means the root's class sky, which boxes cannot"),
        ("  root: [", "  base: [", "classifiers: root is missing"),
        ("{unlabelled: null,", "{unlabelled: null, lawn: sky,", "means names an unknown label (got lawn)"),
        ("way: [road, bike lane]", "way: [road]", "label bike lane means an unknown node (got bike lane)"),
        ("{unlabelled: null,", "{unlabelled: null, road: sky,", "key 'road' stands twice"),
        ("annotation: boxes", "annotation: points", "data_sets.boxes.annotation: Input should be 'masks' or 'boxes'"),
        ("classifiers:", "classifiers: [", "cannot be read as YAML"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(TreeError) as error:
        tree_of(tmp_path, SMALL.replace(old, new))
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'tree.yaml'}: ") for line in lines)
    assert sum(message in line for line in lines) == 1, lines
    assert error.value.exit_status == 2


@pytest.mark.parametrize("name", ["''", r'"two\nlines"', r'"a line\n"'])
@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("[way, sky, thing]\n", "[way, NAME, thing]\n", "classifiers.root.1"),
        ("  thing: [car, cart]", "  NAME: [car, cart]", "classifiers."),
        ("labels: [car, cart]", "labels: [NAME, cart]", "data_sets.boxes.labels.0"),
        ("road: way}", "road: NAME}", "data_sets.coarse.means.road"),
        ("  boxes:\n", "  NAME:\n", "data_sets."),
    ],
)
def test_a_name_without_a_character_or_with_lines_is_refused(
    tmp_path: Path, old: str, new: str, at: str, name: str
) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(TreeError) as error:
        tree_of(tmp_path, SMALL.replace(old, new.replace("NAME", name)))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path / 'tree.yaml'}: {at}")
    got = name.replace('"', "'")
    assert line.endswith(f": not a name (got {got}); expected one line of at least one character")


def test_deep_nesting_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TreeError) as error:
        tree_of(tmp_path, "classifiers: " + "[" * 5000 + "]" * 5000)
    expected = "cannot be read as YAML: lists or mappings are nested too deeply"
    assert str(error.value) == f"{tmp_path / 'tree.yaml'}: {expected}"


@pytest.mark.parametrize(("text", "kind"), [("", "NoneType"), ("- root", "list")])
def test_another_file_is_not_a_tree(tmp_path: Path, text: str, kind: str) -> None:
    with pytest.raises(TreeError, match=rf"not a label tree \(got {kind}\); expected classifiers and data_sets"):
        tree_of(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"none\.yaml: no such file"):
        read_tree(tmp_path / "none.yaml")
