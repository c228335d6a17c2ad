"""The bench of published sample results, against scikit-learn on names that are read and grouped without our code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import jaccard_score, recall_score

from models.places.masks import MaskError, read_colours
from models.places.tree import read_tree

VOID = "void"

pytestmark = pytest.mark.slow  # three pictures of twelve million pixels, three times: a minute on a busy machine


@pytest.fixture(scope="module")
def bench(load):
    return load("places_samples")


@pytest.fixture(scope="module")
def folder(data):
    folder = data / "hierarchy"
    if not folder.is_dir():
        pytest.skip(f"missing: the sample results of hierarchical classifiers, expected at {folder}")
    return folder


@pytest.fixture(scope="module")
def results(bench, folder, root):
    return bench.judged(folder, read_tree(root / "configs" / "places" / "meletis-2018.yaml"))


@pytest.fixture(scope="module")
def pairs(folder):
    """Colours of decisions under each palette index, and pixels: three pictures' (index, colour, number)."""
    found = []
    for number in (1, 2, 3):
        own = np.asarray(Image.open(folder / "sample_results" / "2" / f"ground_truth_{number}.png")).astype(np.int64)
        red, green, blue = np.moveaxis(
            np.asarray(Image.open(folder / "sample_results" / "2" / f"predictions_{number}.png")).astype(np.int64), 2, 0
        )
        assert own.shape == red.shape
        joint, numbers = np.unique(own * 10**9 + red * 10**6 + green * 10**3 + blue, return_counts=True)
        found.append([(divmod(int(one), 10**9), int(n)) for one, n in zip(joint, numbers, strict=True)])
    return found


def classes_at(root, level: int):
    """The class of a name at a level: its ancestor of this level; itself where it is a leaf above."""
    classifiers = yaml.safe_load((root / "configs" / "places" / "meletis-2018.yaml").read_text())["classifiers"]
    parent = {child: node for node, children in classifiers.items() for child in children}

    def of(name: str) -> str:
        if name == "Unlabeled":
            return VOID
        path = [name]
        while parent[path[0]] != "root":
            path.insert(0, parent[path[0]])
        if len(path) >= level:
            return path[level - 1]
        return VOID if name in classifiers else name

    return of


def by_scikit_learn(pairs, flat, of):
    """Mean pixel accuracy and mean IoU with their numbers of classes, and void and left-out pixels."""
    meanings: dict[int, set[str]] = {}
    for name, (red, green, blue) in zip(flat["cids2labels"], flat["cids2colors"], strict=True):
        meanings.setdefault(red * 10**6 + green * 10**3 + blue, set()).add(of(name))
    true, given, weights = [], [], []
    void = shared = 0
    for (index, colour), number in pairs:
        name = of([*flat["cids2labels"][:65], "Unlabeled"][index])
        if len(meanings[colour]) > 1:
            shared += number
        elif name == VOID:
            void += number
        else:
            true.append(name)
            given += meanings[colour]
            weights.append(number)
    with_truth = sorted(set(true))
    with_either = sorted({*true, *given} - {VOID})
    accuracy = recall_score(true, given, labels=with_truth, average=None, sample_weight=weights, zero_division=0)
    iou = jaccard_score(true, given, labels=with_either, average=None, sample_weight=weights, zero_division=0)
    return {
        "mean_accuracy": accuracy.mean(),
        "mean_iou": iou.mean(),
        "classes_with_truth": len(with_truth),
        "classes_with_truth_or_decisions": len(with_either),
        "pixels": sum(weights),
        "void": void,
        "ambiguous": shared,
    }


@pytest.mark.parametrize("level", [1, 2, 3])
def test_figures_equal_scikit_learns(results, pairs, folder, root, level):
    flat = json.loads((folder / "training_problem_def.json").read_text())
    own = results["levels"][level - 1]
    every = [pair for picture in pairs for pair in picture]
    for found, counted in zip([own, *own["pictures"]], [every, *pairs], strict=True):
        expected = by_scikit_learn(counted, flat, classes_at(root, level))
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert found["ambiguous"] > 0


def test_all_pixels_are_counted(results):
    sizes = 3984 * 2988 + 2 * 4032 * 3024
    for level in results["levels"]:
        assert level["pixels"] + level["void"] + level["ambiguous"] == sizes


@pytest.mark.parametrize(
    ("level", "names"), [(1, "Lane Marking - General, Snow"), (2, "Bicyclist, Motorcyclist, Other Rider")]
)
def test_shared_colours_are_refused_with_their_names(bench, folder, root, level, names):
    drawn = bench.read_drawn(folder / "training_problem_def.json")
    of = classes_at(root, level)
    kinds = [of(name) for name in drawn.names]
    classes = [sorted(set(kinds)).index(kind) for kind in kinds]
    with pytest.raises(MaskError) as error:
        read_colours(folder / "sample_results" / "2" / "predictions_1.png", drawn, classes)
    assert f"stands for several classes ({names}; " in str(error.value)


def test_riders_share_a_colour_below_the_first_level_alone(results):
    riders = ["Bicyclist", "Motorcyclist", "Other Rider"]
    assert [riders in level["ambiguous_colours"] for level in results["levels"]] == [False, True, True]


def test_the_committed_results_are_those_of_the_data(results, root):
    committed = json.loads((root / "bench" / "results" / "places_samples.json").read_text())
    assert committed == json.loads(json.dumps(results))


def test_missing_data_have_one_line(bench, tmp_path, root):
    tree = read_tree(root / "configs" / "places" / "meletis-2018.yaml")
    with pytest.raises(MaskError, match=r"training_problem_def\.json: no such file; expected the authors' list"):
        bench.judged(tmp_path, tree)
    (tmp_path / "training_problem_def.json").write_text('{"cids2labels": ["a"], "cids2colors": [[1, 2]]}')
    with pytest.raises(MaskError, match=r"training_problem_def\.json: not the authors' list of classes"):
        bench.judged(tmp_path, tree)
