"""``mistwatch train places`` with label trees and data sets that cannot be used: one line, and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from in_process import called as mistwatch

TREE = {
    "classifiers": {"root": ["way", "sky"], "way": ["road", "lane"]},
    "data_sets": {
        "coarse": {"annotation": "masks", "labels": ["way", "sky"]},
        "fine": {"annotation": "masks", "labels": ["road", "lane"]},
    },
}


def train(folder: Path, tree: dict, layout: str = "folder") -> tuple[object, str]:
    """Return the status and what the command writes to standard error."""
    (folder / "tree.yaml").write_text(yaml.safe_dump(tree))
    recipe = {
        "data": {
            "tree": str(folder / "tree.yaml"),
            "sets": {name: {"layout": layout, "folder": name} for name in tree["data_sets"]},
        },
        "shares": dict.fromkeys(tree["data_sets"], 1),
        "views": {"size": [16, 16], "crop": [16, 16]},
        "optimisation": {"steps": 1},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["--config", folder / "recipe.yaml", "--data", folder, "--out", folder / "run"]
    status, _, errors = mistwatch("train", "places", *words)
    return status, errors


def with_classifiers(**classifiers: list[str]) -> dict:
    return {**TREE, "classifiers": {**TREE["classifiers"], **classifiers}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (with_classifiers(a=["b"], b=["a"]), "a cycle (a below b below a); expected each node to lead to root"),
        (with_classifiers(way=["road", "lane", "sky"]), "node sky: stands 2 times among the classes"),
        (
            {
                **TREE,
                "data_sets": {**TREE["data_sets"], "fine": {"annotation": "masks", "labels": ["road", "lane", "road"]}},
            },
            "data set fine: label road stands 2 times; expected once",
        ),
        (with_classifiers(way=["road", "lane", "verge"]), "class verge: nothing supervises it"),
        (with_classifiers(root=["way", "sky", "sea"]), "class sea: has no dense labels"),
    ],
)
def test_a_bad_label_tree_has_one_line(tmp_path: Path, tree: dict, message: str) -> None:
    status, errors = train(tmp_path, tree)
    assert status == 2
    assert message in errors
    assert str(tmp_path / "tree.yaml") in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "product").exists()


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("cityscapes", "data set coarse: 2 labels; expected the 34 of the data set's ids"),
        ("vistas", "the data set's configuration is missing; expected config.json or config_v1.2.json"),
        ("gtsdb", "data set coarse: has the annotation masks; expected boxes"),
    ],
)
def test_a_published_data_set_that_does_not_fit_has_one_line(tmp_path: Path, layout: str, message: str) -> None:
    status, errors = train(tmp_path, TREE, layout)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
