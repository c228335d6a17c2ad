"""Scorers made from scikit-learn's fitted estimators, by the attributes that the estimators have.

Some of these attributes are not public, so a later version of scikit-learn may rename them. The bounds in
``pyproject.toml`` allow such a version, and it ends in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn

from models.detectors.outlier.forest import ForestScorer
from models.detectors.outlier.lof import LofScorer
from models.detectors.outlier.svm import SvmScorer
from pipeline.errors import MistwatchError


class EstimatorError(MistwatchError):
    """A fitted estimator of scikit-learn cannot be read."""


def lof_of(estimator: Any) -> LofScorer:
    """Return the scorer of a fitted ``sklearn.neighbors.LocalOutlierFactor``.

    Raises:
        EstimatorError: it lacks an attribute, or has another metric than the Euclidean one.
    """
    metric = _of(estimator, "effective_metric_")
    if metric != "euclidean":
        raise EstimatorError(f"LocalOutlierFactor: metric: cannot be read (got {metric}); expected euclidean")
    neighbours = int(_of(estimator, "n_neighbors_"))
    sample, distances = np.asarray(_of(estimator, "_fit_X")), np.asarray(_of(estimator, "_distances_fit_X_"))
    scorer: LofScorer = _scorer(
        LofScorer,
        sample,
        distances[:, neighbours - 1].astype(sample.dtype),
        np.asarray(_of(estimator, "_lrd")).astype(sample.dtype),
        neighbours=neighbours,
        offset=float(_of(estimator, "offset_")),
    )
    return scorer


def negative_factors(estimator: Any) -> npt.NDArray[np.float64]:
    """Return the score of each row that a ``LocalOutlierFactor`` was fitted to, itself not among its neighbours.

    Raises:
        EstimatorError: the estimator lacks the attribute.
    """
    found: npt.NDArray[np.float64] = np.asarray(_of(estimator, "negative_outlier_factor_"), np.float64)
    return found


def forest_of(estimator: Any) -> ForestScorer:
    """Return the scorer of a fitted ``sklearn.ensemble.IsolationForest``. Raises EstimatorError: it lacks something."""
    trees = [_of(tree, "tree_") for tree in _of(estimator, "estimators_")]
    used = [np.asarray(columns) for columns in _of(estimator, "estimators_features_")]
    counts = [len(_of(tree, "feature")) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
    features, children = [], []
    for tree, columns, root in zip(trees, used, roots, strict=True):
        of_tree = np.asarray(_of(tree, "feature"))
        # A tree that sees some columns counts these. Leaves have −2.
        features.append(np.where(of_tree >= 0, columns[np.maximum(of_tree, 0)], -1))
        pair = np.stack([_of(tree, "children_left"), _of(tree, "children_right")], axis=1)
        children.append(np.where(pair >= 0, pair + root, -1))
    scorer: ForestScorer = _scorer(
        ForestScorer,
        np.concatenate(features).astype(np.int32),
        _joined(trees, "threshold").astype(np.float64),
        np.concatenate(children).astype(np.int32),
        _joined(trees, "n_node_samples").astype(np.int32),
        roots,
        rows_of_tree=int(_of(estimator, "max_samples_")),
        columns=int(_of(estimator, "n_features_in_")),
        offset=float(_of(estimator, "offset_")),
    )
    return scorer


def svm_of(estimator: Any) -> SvmScorer:
    """Return the scorer of a fitted ``sklearn.svm.OneClassSVM``.

    Raises:
        EstimatorError: it lacks an attribute, or has another kernel than the radial basis function.
    """
    if (kernel := _of(estimator, "kernel")) != "rbf":
        raise EstimatorError(f"OneClassSVM: kernel: cannot be read (got {kernel}); expected rbf")
    scorer: SvmScorer = _scorer(
        SvmScorer,
        np.asarray(_of(estimator, "support_vectors_")),
        np.asarray(_of(estimator, "dual_coef_"), np.float64)[0],
        gamma=float(_of(estimator, "_gamma")),
        offset=-float(np.asarray(_of(estimator, "intercept_"))[0]),
    )
    return scorer


def _of(owner: Any, attribute: str) -> Any:
    """Return an attribute of an estimator or of a part of it. Raises EstimatorError: it is missing."""
    try:
        return getattr(owner, attribute)
    except AttributeError:
        raise _changed(owner, f"the attribute {attribute} is missing", attribute) from None


def _joined(trees: Sequence[Any], attribute: str) -> Any:
    return np.concatenate([np.asarray(_of(tree, attribute)) for tree in trees])


def _scorer(kind: Any, *arrays: Any, **numbers: Any) -> Any:
    """Return a scorer. Raises EstimatorError: the estimator's arrays cannot be those of one."""
    try:
        return kind(*arrays, **numbers)
    except ValueError as error:
        raise _changed(kind, str(error), "arrays as they were in scikit-learn 1.6 to 1.9") from None


def _changed(owner: Any, problem: str, expected: str) -> EstimatorError:
    name = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    return EstimatorError(
        f"{name}: {problem} (got scikit-learn {sklearn.__version__}); expected {expected}; install scikit-learn 1.6 to "
        "1.9, or use another --estimator"
    )
