"""Fitting an estimator of scikit-learn to a sample of rows, which may hold outliers.

In mode ``novelty`` the estimator is fitted to all rows. In mode ``outlier`` a first one is fitted, and the rows with
its lowest scores, as many as may be of incidents, are left out before the last fit. Otherwise outliers that look alike
would be as normal as anything that the camera shows now and then. The first fit expects them to be alike:

* ``lof`` has twice as many neighbours as there may be outliers, so that at least half of the neighbours of each are
  normal. Among fewer, outliers that look alike would be one another's neighbours, and so inliers.
* ``svm`` has ν = 0.5. The score is then like a density of the sample, which at a share below that stays low. With ν of
  that share itself, outliers that look alike become support vectors on the border.
* ``forest`` has trees of 1 / share rows, so that a tree has about one outlier. A heap of them in a tree would need
  further cuts to be taken apart, and its paths would be as long as those of usual rows.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from models.detectors.outlier.fitted import EstimatorError, forest_of, lof_of, negative_factors, svm_of
from models.detectors.outlier.judging import EstimatorScorer, Judge
from models.detectors.outlier.projection import Projection, Rows
from models.detectors.outlier.recipe import OutlierRecipe

_SEED = 0
#: ν of the first fit of an SVM to rows with outliers.
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a fit.

    Attributes:
        used: bool (n,), the rows to which the estimator was fitted.
        scikit_learn: version of the library.
    """

    judge: Judge
    used: npt.NDArray[np.bool_]
    scikit_learn: str


def fit(rows: Rows, recipe: OutlierRecipe) -> Fitted:
    """Fit what the recipe asks for to a sample, (n, C).

    Raises:
        EstimatorError: the estimator cannot be fitted to these rows, or this version of scikit-learn differs in the
            attributes that are read.
    """
    used = np.ones(len(rows), np.bool_)
    if recipe.mode == "outlier":
        scores = _first_scores(_projection(rows, recipe)(rows), recipe)
        left_out = round(recipe.contaminated_rows * len(rows))
        used[np.argsort(scores, kind="stable")[:left_out]] = False
    projection = _projection(rows[used], recipe)
    scorer = fit_estimator(projection(rows[used]), recipe)
    judge = Judge(recipe.estimator, scorer, projection, pooled=recipe.features == "pooled")
    return Fitted(judge, used, sklearn.__version__)


def fit_projection(rows: Rows, variance: float) -> Projection:
    """Return the projection on the main axes that keep this share of the variance; none for 1."""
    if variance == 1:
        return Projection()
    wide = rows.astype(np.float64)
    if not wide.var(axis=0).any():
        return Projection()  # equal rows have no axes
    found = PCA(variance, svd_solver="full").fit(wide)
    return Projection(found.mean_.astype(np.float32), np.ascontiguousarray(found.components_.T, np.float32))


def _projection(rows: Rows, recipe: OutlierRecipe) -> Projection:
    """Return the projection for the recipe's estimator.

    Distances lose little by it and cost less. A forest has none: what differs in many values at once would lie in a few
    main axes, which a random cut seldom meets.
    """
    return Projection() if recipe.estimator == "forest" else fit_projection(rows, recipe.variance)


def fit_estimator(rows: Rows, recipe: OutlierRecipe) -> EstimatorScorer:
    """Fit the recipe's estimator to rows that are taken as clean."""
    if recipe.estimator == "lof":
        return lof_of(_lof(rows, recipe.neighbours))
    if recipe.estimator == "forest":
        return forest_of(_forest(rows, recipe, recipe.rows_of_tree))
    return svm_of(_svm(rows, recipe, recipe.nu))


def _first_scores(rows: Rows, recipe: OutlierRecipe) -> npt.NDArray[np.float64]:
    """Return scores of rows among which outliers are, the lowest ones theirs."""
    if recipe.estimator == "lof":
        outliers = math.ceil(recipe.contaminated_rows * len(rows))
        return negative_factors(_lof(rows, max(recipe.neighbours, 2 * outliers)))
    if recipe.estimator == "forest":
        few = max(2, round(1 / recipe.contaminated_rows))
        return forest_of(_forest(rows, recipe, min(few, recipe.rows_of_tree))).score_samples(rows)
    return svm_of(_svm(rows, recipe, _HALF)).score_samples(rows)


def _lof(rows: Rows, neighbours: int) -> Any:
    # A tree's distances are exact. Differences of large squares would give equal rows a distance, and the density of
    # many equal rows is as high as the distance is small.
    kind = LocalOutlierFactor(n_neighbors=min(neighbours, len(rows) - 1), novelty=True, algorithm="kd_tree")
    return _fitted(kind, rows)


def _forest(rows: Rows, recipe: OutlierRecipe, most: int) -> Any:
    kind = IsolationForest(n_estimators=recipe.trees, max_samples=min(most, len(rows)), random_state=_SEED)
    return _fitted(kind, rows)


def _svm(rows: Rows, recipe: OutlierRecipe, nu: float) -> Any:
    return _fitted(OneClassSVM(nu=nu, gamma=recipe.gamma), rows)


def _fitted(kind: Any, rows: Rows) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal rows, for example: an operator can do nothing about them
        try:
            return kind.fit(rows)
        except ValueError as error:
            problem = " ".join(str(error).split())
            raise EstimatorError(
                f"{type(kind).__name__}: cannot be fitted to {len(rows)} rows of the footage (got: {problem}); "
                "expected other settings of the recipe; use another --estimator"
            ) from None
