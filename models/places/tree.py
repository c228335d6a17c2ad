"""The label tree of hierarchical classifiers (P. Meletis, G. Dubbelman 2018), read from YAML.

An inner node is a classifier, and its children are the classes between which it decides. A data set has its own labels,
and each label means one node. A label that means an inner node says nothing about the classes below it::

    classifiers:
      root: [driveable, building, sky]
      driveable: [road, bike lane]
    data_sets:
      coarse:
        annotation: masks                 # or boxes
        labels: [road, building, sky]     # by their index in a mask
        means: {road: driveable}          # label: node, or null for void; the default is the node of the same name
    things: [car]                         # optional

Nodes under ``things``, and all nodes below them, are things that stand or move in a place; the others are the place.

A label may be a parent in one data set and a child in another: ``road`` covers the bike lanes of the first set, and
lies beside those of the second one. Where both mean one inner node, the second set's label gets a class of its own
below this node, which is then the intermediate node of both labels. Where the second set does not label all other
classes of the node, its label may contain them. That is a conflict, and an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from operators.figures.segments import VOID
from pipeline.errors import UsageError

Indices = npt.NDArray[np.int64]


def _checked_name(name: str) -> str:
    if not name or not name.isprintable():
        raise PydanticCustomError(
            "name", "not a name (got {got}); expected one line of at least one character", {"got": repr(name)}
        )
    return name


#: Name of a node, a label or a data set; it stands in messages and tables of one line.
Name = Annotated[str, AfterValidator(_checked_name)]

#: Name of the first classifier.
ROOT = "root"


class TreeError(UsageError):
    """A label tree cannot be used. A line for each problem."""


class DataSet(BaseModel):
    """The labels of a data set.

    Attributes:
        annotation: ``masks``: each pixel has a label; ``boxes``: rectangles around objects have one.
        labels: names, by their index.
        means: nodes of the labels that have another name than their node; None for void.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotation: Literal["masks", "boxes"]
    labels: tuple[Name, ...]
    means: Mapping[Name, Name | None] = {}

    def node(self, label: str) -> str | None:
        """Return the node that a label means; None for void."""
        return self.means.get(label, label)

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that the labels mean."""
        return frozenset(node for label in self.labels if (node := self.node(label)) is not None)


class _TreeFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    classifiers: dict[Name, tuple[Name, ...]]
    data_sets: dict[Name, DataSet]
    things: tuple[Name, ...] = ()


@dataclass(frozen=True)
class LabelTree:
    """A checked label tree; nodes are known by name, and by their index in :attr:`nodes`.

    Attributes:
        classifiers: children of each inner node, parents before their children.
        data_sets: labels by data set.
        things: nodes that are things rather than places; the argument names the topmost of them, the attribute has all.
        resolved: a line for each label that was moved below the node that it means.

    Raises:
        TreeError: the tree cannot be used; a line for each problem.
    """

    classifiers: Mapping[str, tuple[str, ...]]
    data_sets: Mapping[str, DataSet]
    things: Collection[str] = frozenset()
    resolved: tuple[str, ...] = field(default=(), init=False, compare=False)

    def __post_init__(self) -> None:
        _refuse(_structure_problems(self.classifiers))
        _refuse(_label_problems(self.classifiers, self.data_sets) + _thing_problems(self.classifiers, self.things))
        classifiers, data_sets, resolved = _resolve(self.classifiers, self.data_sets)
        object.__setattr__(self, "classifiers", _parents_first(classifiers))
        object.__setattr__(self, "data_sets", data_sets)
        object.__setattr__(self, "resolved", resolved)
        things = {node for node in self.nodes if not set(self.path(node)).isdisjoint(self.things)}
        object.__setattr__(self, "things", frozenset(things))
        _refuse(_supervision_problems(self.classifiers, self.data_sets))

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All nodes but the root, parents before their children."""
        return tuple(child for children in self.classifiers.values() for child in children)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The index of each node in :attr:`nodes`."""
        return {node: at for at, node in enumerate(self.nodes)}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The nodes without children."""
        return tuple(node for node in self.nodes if node not in self.classifiers)

    @cached_property
    def parents(self) -> Mapping[str, str]:
        """The classifier that decides for each node."""
        return _parents(self.classifiers)

    @property
    def depth(self) -> int:
        """The number of levels of classifiers."""
        return max(self.level(classifier) for classifier in self.classifiers)

    def path(self, node: str) -> tuple[str, ...]:
        """Return the nodes from a class of the root down to ``node``; empty for the root."""
        return _path(node, self.parents)

    def level(self, classifier: str) -> int:
        """Return the level of a classifier: 1 for the root, 2 for its children."""
        return 1 + len(self.path(classifier))

    def node_of_labels(self, data_set: str) -> Indices:
        """Return the index of the node that each label of a data set means, (labels,); :data:`VOID` for void.

        Raises:
            TreeError: the tree has no such data set.
        """
        if data_set not in self.data_sets:
            known = ", ".join(self.data_sets)
            raise TreeError(f"data set {data_set}: unknown to the label tree; expected one of {known}")
        labels = self.data_sets[data_set]
        nodes = [labels.node(label) for label in labels.labels]
        return np.array([VOID if node is None else self.index[node] for node in nodes], np.int64)

    def class_of_nodes(self, classifier: str) -> Indices:
        """Return the class that a classifier should give to pixels of each node, (nodes,).

        It is the index of the classifier's child that is the node or stands above it, and :data:`VOID` elsewhere.
        """
        children = self.classifiers[classifier]
        ordinals = {child: at for at, child in enumerate(children)}
        return np.array(
            [next((ordinals[step] for step in self.path(node) if step in ordinals), VOID) for node in self.nodes],
            np.int64,
        )

    def classes_at(self, level: int) -> tuple[tuple[str, ...], Indices]:
        """Return the classes between which the first ``level`` levels of classifiers decide, and each node's class.

        A node below them counts as its ancestor among them. An inner node above them is :data:`VOID`, because its class
        is not known there.

        Raises:
            ValueError: the tree has no such level.
        """
        if not 1 <= level <= self.depth:
            raise ValueError(f"level must be 1 to {self.depth}, got {level}")
        names = tuple(
            node
            for node in self.nodes
            if len(self.path(node)) == level or (len(self.path(node)) < level and node not in self.classifiers)
        )
        ordinals = {name: at for at, name in enumerate(names)}
        own = [next((ordinals[step] for step in self.path(node) if step in ordinals), VOID) for node in self.nodes]
        return names, np.array(own, np.int64)


def read_tree(file: Path) -> LabelTree:
    """Read a label tree.

    Raises:
        TreeError: the file cannot be read, is not YAML, or is not a usable tree; a line for each problem.
    """
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506  (a SafeLoader)
    except FileNotFoundError:
        raise TreeError(f"{file}: no such file") from None
    except RecursionError:
        raise TreeError(f"{file}: cannot be read as YAML: lists or mappings are nested too deeply") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TreeError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise TreeError(f"{file}: not a label tree (got {type(values).__name__}); expected classifiers and data_sets")
    try:
        read = _TreeFile.model_validate(values)
    except ValidationError as error:
        raise TreeError(
            "\n".join(
                f"{file}: {_where(problem['loc']) or 'the file'}: {problem['msg']}"
                for problem in error.errors(include_url=False)
            )
        ) from None
    try:
        return LabelTree(read.classifiers, read.data_sets, read.things)
    except TreeError as error:
        raise TreeError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None


def _where(parts: Sequence[int | str]) -> str:
    """Return the place of a problem in the file as one line, also where it is below a name of several."""
    return ".".join(" ".join(str(part).split()) for part in parts)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key stands once; PyYAML silently keeps the last of several."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, number in keys.items() if number > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise TreeError("\n".join(problems))


def _structure_problems(classifiers: Mapping[str, tuple[str, ...]]) -> list[str]:
    if ROOT not in classifiers:
        return [f"classifiers: {ROOT} is missing; expected the classes of the first classifier under this name"]
    problems = []
    counts = Counter(child for children in classifiers.values() for child in children)
    for node, number in counts.items():
        if node == ROOT:
            problems.append(f"node {ROOT}: is the first classifier and cannot be a class; remove it from the classes")
        elif number > 1:
            problems.append(f"node {node}: stands {number} times among the classes; expected one parent")
    problems += [
        f"classifier {classifier}: unknown node; expected a class of another classifier"
        for classifier in classifiers
        if classifier != ROOT and classifier not in counts
    ]
    return problems or _cycles(classifiers)


def _cycles(classifiers: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a line for each cycle; each node has one parent at most."""
    parents = _parents(classifiers)
    problems: list[str] = []
    seen: set[str] = {ROOT}
    for start in classifiers:
        path: list[str] = []
        node = start
        while node not in seen:
            seen.add(node)
            path.append(node)
            node = parents[node]
        if node in path:
            cycle = [*path[path.index(node) :], node]
            problems.append(f"classifiers: a cycle ({' below '.join(cycle)}); expected each node to lead to {ROOT}")
    return problems


def _label_problems(classifiers: Mapping[str, tuple[str, ...]], data_sets: Mapping[str, DataSet]) -> list[str]:
    known = {child for children in classifiers.values() for child in children}
    problems = []
    for name, data_set in data_sets.items():
        for label, number in Counter(data_set.labels).items():
            if number > 1:
                problems.append(f"data set {name}: label {label} stands {number} times; expected once")
            node = data_set.node(label)
            if node is not None and node not in known:
                problems.append(
                    f"data set {name}: label {label} means an unknown node (got {node}); expected a class of a "
                    "classifier, or null for void"
                )
            elif data_set.annotation == "boxes" and node in classifiers[ROOT]:
                problems.append(
                    f"data set {name}: label {label} means the root's class {node}, which boxes cannot train; expected "
                    "a class of a lower classifier, or null for void"
                )
        problems += [
            f"data set {name}: means names an unknown label (got {label}); add it to the labels"
            for label in data_set.means
            if label not in data_set.labels
        ]
    return problems


def _thing_problems(classifiers: Mapping[str, tuple[str, ...]], things: Collection[str]) -> list[str]:
    parents = _parents(classifiers)
    problems = []
    for node, number in Counter(things).items():
        if number > 1:
            problems.append(f"things: node {node} stands {number} times; expected once")
        elif node == ROOT:
            problems.append(f"things: {ROOT} is the first classifier; expected a class of a classifier")
        elif node not in parents:
            problems.append(f"things: unknown node (got {node}); expected a class of a classifier")
        elif above := [one for one in _path(node, parents)[:-1] if one in things]:
            problems.append(f"things: node {node} is below {above[0]}, a thing already; remove it")
    return problems


def _supervision_problems(classifiers: Mapping[str, tuple[str, ...]], data_sets: Mapping[str, DataSet]) -> list[str]:
    parents = _parents(classifiers)
    supervised = {step for one in data_sets.values() for node in one.nodes for step in _path(node, parents)}
    dense = {
        step
        for one in data_sets.values()
        if one.annotation == "masks"
        for node in one.nodes
        for step in _path(node, parents)
    }
    problems = []
    for classifier, children in classifiers.items():
        if len(children) < 2:
            problems.append(f"classifier {classifier}: too few classes (got {len(children)}); expected at least 2")
        for child in children:
            if classifier == ROOT and child not in dense:
                problems.append(f"class {child}: has no dense labels; expected masks that label each class of the root")
            elif child not in supervised:
                problems.append(f"class {child}: nothing supervises it; expected a label that means it, or remove it")
    return problems


def _resolve(
    classifiers: Mapping[str, tuple[str, ...]], data_sets: Mapping[str, DataSet]
) -> tuple[dict[str, tuple[str, ...]], dict[str, DataSet], tuple[str, ...]]:
    """Give each label that stands beside classes of its own node a class below the node."""
    parents = _parents(classifiers)
    tree, sets = dict(classifiers), dict(data_sets)
    resolved, conflicts = [], []
    for name, data_set in data_sets.items():
        means = dict(data_set.means)
        for label in data_set.labels:
            node = data_set.node(label)
            if node is None or node not in classifiers:
                continue
            beside = [one for one in data_set.labels if node in _path(data_set.node(one), parents)[:-1]]
            if not beside:
                continue
            added = f"{node} (other)"
            missing = [child for child in classifiers[node] if not _covers(data_set, child, classifiers)]
            if missing or added in parents:
                reason = (
                    f"it may contain {missing[0]}, which this data set does not label"
                    if missing
                    else f"a node {added} exists already"
                )
                conflicts.append(
                    f"data set {name}: conflict: label {label} means {node}, and label {beside[0]} a class below it, "
                    f"but {reason}; give both labels the same node, or a class of its own to {label}"
                )
                continue
            if added not in tree[node]:
                tree[node] = (*tree[node], added)
            means[label] = added
            resolved.append(f"data set {name}: label {label} stands beside {beside[0]}; it means the new class {added}")
        sets[name] = data_set.model_copy(update={"means": means})
    _refuse(conflicts)
    return tree, sets, tuple(resolved)


def _covers(data_set: DataSet, node: str, classifiers: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether all pixels of a node have a label of their own in a data set."""
    if node in data_set.nodes:
        return True
    return node in classifiers and all(_covers(data_set, child, classifiers) for child in classifiers[node])


def _parents(classifiers: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {child: classifier for classifier, children in classifiers.items() for child in children}


def _path(node: str | None, parents: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodes from a class of the root down to ``node``; empty for the root and for void."""
    path: list[str] = []
    while node is not None and node != ROOT:
        path.append(node)
        node = parents[node]
    return tuple(reversed(path))


def _parents_first(classifiers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    parents = _parents(classifiers)
    return dict(sorted(classifiers.items(), key=lambda one: len(_path(one[0], parents))))
