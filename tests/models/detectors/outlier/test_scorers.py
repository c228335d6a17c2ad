"""Scores of our own code beside scikit-learn's, and the arrays between them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from models.detectors.outlier.fitted import EstimatorError, forest_of, lof_of, negative_factors, svm_of
from models.detectors.outlier.forest import ForestScorer, mean_path
from models.detectors.outlier.judging import SCORERS
from models.detectors.outlier.lof import LofScorer
from models.detectors.outlier.svm import SvmScorer

#: The largest difference from scikit-learn, relative to the score, or absolute where that is below 1.
WITHIN = 1e-5


def drawn(rows: int, columns: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Rows whose columns depend on one another, with a few far from the rest."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(columns, columns))
    return (random.standard_t(3, size=(rows, columns)) @ mixing + 10).astype(dtype)


def fit(estimator: Any, rows: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer rows than neighbours, and of equal ones
        return estimator.fit(rows)


def assert_same_scores(scorer: Any, estimator: Any, queries: np.ndarray) -> None:
    for method in ("score_samples", "decision_function"):
        ours, theirs = getattr(scorer, method)(queries), getattr(estimator, method)(queries)
        assert ours.shape == (len(queries),)
        np.testing.assert_allclose(ours, theirs, rtol=WITHIN, atol=WITHIN, err_msg=method)


SHAPES = [(300, 3), (250, 40), (60, 1), (1, 4), (2, 2)]


class TestLof:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 1])
    @pytest.mark.parametrize(("neighbours", "contamination"), [(1, "auto"), (5, 0.1), (20, "auto"), (80, 0.3)])
    def test_it_scores_as_scikit_learn(
        self, shape: tuple[int, int], neighbours: int, contamination: Any, dtype: Any
    ) -> None:
        """A sample of 60 rows has fewer than 80 neighbours."""
        estimator = LocalOutlierFactor(neighbours, novelty=True, contamination=contamination)
        fit(estimator, drawn(*shape, dtype=dtype))
        assert_same_scores(lof_of(estimator), estimator, drawn(70, shape[1], seed=1, dtype=dtype))

    def test_more_equal_rows_than_neighbours(self) -> None:
        """They are infinitely dense but for 1e-10, so rows beside them are outliers by ten orders of magnitude."""
        rows = np.concatenate([np.repeat(drawn(3, 4), 12, axis=0), drawn(60, 4, seed=1)])
        estimator = fit(LocalOutlierFactor(5, novelty=True, algorithm="kd_tree"), rows)
        scorer = lof_of(estimator)
        queries = np.concatenate([rows[:36:12], rows[:36:12] + 0.01, drawn(40, 4, seed=2)])
        assert_same_scores(scorer, estimator, queries)
        np.testing.assert_allclose(scorer.score_samples(queries[:3]), -1, rtol=WITHIN)
        assert scorer.score_samples(queries[3:6]).max() < -1e6
        assert np.isfinite(scorer.strangeness(queries)).all()

    @pytest.mark.parametrize("columns", [1, 6])
    def test_equal_rows_alone_and_columns_that_never_change(self, columns: int) -> None:
        equal = np.full((30, columns), 7, np.float32)
        changing = equal.copy()
        changing[:, 0] = drawn(30, 1)[:, 0]
        for rows in (equal, changing):
            estimator = fit(LocalOutlierFactor(5, novelty=True, algorithm="kd_tree"), rows)
            assert_same_scores(lof_of(estimator), estimator, np.concatenate([rows, rows + 1]))

    def test_a_score_of_neighbours_at_one_distance_is_one_that_some_of_them_give(self) -> None:
        """On a grid many rows are equally near, and it is open which of them are the k nearest."""
        rows = np.random.default_rng(0).integers(0, 5, (200, 3)).astype(np.float32)
        queries = np.random.default_rng(1).integers(0, 5, (40, 3)).astype(np.float32) + np.float32(0.5)
        neighbours = 7
        estimator = fit(LocalOutlierFactor(neighbours, novelty=True, algorithm="kd_tree"), rows)
        reach, densities = estimator._distances_fit_X_[:, -1], estimator._lrd
        lowest, highest = [], []
        for distances in cdist(queries, rows):
            border = np.sort(distances)[neighbours - 1]
            inside, tied = distances < border, np.flatnonzero(distances == border)
            wanted = neighbours - int(inside.sum())
            reached = np.maximum(reach, distances)
            sums = [
                (
                    reached[inside].sum() + np.sort(reached[tied])[::order][:wanted].sum(),
                    densities[inside].sum() + np.sort(densities[tied])[::order][:wanted].sum(),
                )
                for order in (1, -1)
            ]
            (least_reach, least_density), (most_reach, most_density) = sums
            lowest.append(-most_reach * most_density / neighbours**2)
            highest.append(-least_reach * least_density / neighbours**2)
        for scores in (lof_of(estimator).score_samples(queries), estimator.score_samples(queries)):
            assert (scores >= np.array(lowest) * (1 + 1e-5)).all()
            assert (scores <= np.array(highest) * (1 - 1e-5)).all()
        assert (np.array(lowest) < np.array(highest)).any(), "no ties"

    @pytest.mark.parametrize("neighbours", [1, 3, 60, 100, 699, 700])
    @pytest.mark.parametrize("far", [0, 1000])
    def test_the_nearest_are_those_of_a_search_through_all(self, neighbours: int, far: float) -> None:
        """Also in a tight heap far from another one, where products of float32 have no digits left."""
        rows = np.concatenate([drawn(400, 8), drawn(300, 8, seed=1) / 1000 + far]).astype(np.float32)
        queries = np.concatenate([drawn(30, 8, seed=2), drawn(30, 8, seed=3) / 1000 + far]).astype(np.float32)
        scorer = LofScorer(rows, np.ones(700), np.ones(700), neighbours=neighbours, offset=-1.5)
        found, distances = scorer._nearest(queries)
        expected = np.sort(cdist(queries.astype(np.float64), rows.astype(np.float64)), axis=1)[:, :neighbours]
        np.testing.assert_allclose(distances, expected, rtol=1e-5)
        assert all(len(set(one)) == neighbours for one in found.tolist())

    @pytest.mark.parametrize("many", [1, 9, 68, 70, 150, 699])
    def test_the_highest_products_and_the_highest_of_the_others_are_those_of_a_sort(self, many: int) -> None:
        """With 70 folds of 10 columns. The highest of the others may lie in a fold that was not looked into."""
        scorer = LofScorer(np.zeros((700, 2)), np.ones(700), np.ones(700), neighbours=1, offset=-1.5)
        products = np.random.default_rng(0).normal(size=(50, 700))
        columns, rest = scorer._highest(products, many)
        ordered = np.sort(products, axis=1)
        found = np.sort(np.take_along_axis(products, columns, axis=1), axis=1)
        np.testing.assert_array_equal(found, ordered[:, -many:])
        np.testing.assert_array_equal(rest, ordered[:, -many - 1])

    def test_a_row_has_one_score_whatever_rows_are_scored_with_it(self) -> None:
        scorer = lof_of(fit(LocalOutlierFactor(10, novelty=True), drawn(500, 20)))
        queries = drawn(150, 20, seed=1)
        alone = np.concatenate([scorer.score_samples(one[None]) for one in queries])
        np.testing.assert_allclose(scorer.score_samples(queries), alone, rtol=1e-12)

    def test_the_scores_of_the_sample_leave_each_row_out_of_its_own_neighbours(self) -> None:
        """By hand: at 0, 1, 2 and 10, with one neighbour each. The reach of a pair is the farther one's own."""
        estimator = fit(LocalOutlierFactor(1, novelty=True), np.array([[0.0], [1.0], [2.0], [10.0]]))
        np.testing.assert_allclose(negative_factors(estimator)[-1], -8, rtol=1e-6)

    def test_no_rows(self) -> None:
        assert lof_of(fit(LocalOutlierFactor(2, novelty=True), drawn(9, 3))).score_samples(drawn(0, 3)).shape == (0,)

    def test_another_metric_is_refused(self) -> None:
        estimator = fit(LocalOutlierFactor(2, novelty=True, metric="manhattan"), drawn(9, 3))
        with pytest.raises(EstimatorError, match=r"metric: cannot be read \(got manhattan\); expected euclidean"):
            lof_of(estimator)


class TestForest:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"contamination": 0.1},
            {"max_features": 0.5, "max_samples": 0.7},
            {"bootstrap": True, "max_samples": 40},
            {"max_samples": 1},
        ],
    )
    def test_it_scores_as_scikit_learn(self, shape: tuple[int, int], options: dict[str, Any], dtype: Any) -> None:
        if shape[0] == 1:  # of which scikit-learn takes a share for no row
            options = {name: value for name, value in options.items() if name != "max_samples"}
        estimator = fit(IsolationForest(n_estimators=13, random_state=0, **options), drawn(*shape, dtype=dtype))
        assert_same_scores(forest_of(estimator), estimator, drawn(70, shape[1], seed=1, dtype=dtype))

    def test_equal_rows_ties_and_columns_that_never_change(self) -> None:
        """A tree cannot cut equal rows apart, so its leaves hold many."""
        rows = np.random.default_rng(0).integers(0, 3, (200, 4)).astype(np.float32)
        rows[:, 2] = 5
        for some in (rows, np.full((50, 3), 2, np.float32)):
            estimator = fit(IsolationForest(n_estimators=10, random_state=0), some)
            assert_same_scores(forest_of(estimator), estimator, np.concatenate([some, some + 1]))

    @pytest.mark.parametrize("beside", [0.0, 1e-9])
    @pytest.mark.parametrize("above", [1e-10, 6e-9])
    @pytest.mark.parametrize(("steps", "score"), [(-1, -0.5), (0, -0.5), (1, -0.25)])
    def test_a_value_at_the_threshold_goes_left_as_float32(
        self, steps: int, score: float, above: float, beside: float
    ) -> None:
        """By hand: one cut of 3 rows, of which c(2) = 1 is the usual path.

        The left leaf has one row at depth 1, which scores −2^−1. The right one has two, so c(2) is added: −2^−2. The
        threshold lies between the float32 nearest to 0.1 and the next one, 7.5e-9 above it, and so does a value beside.
        """
        scorer = ForestScorer(
            np.array([0, -1, -1], np.int32),
            np.array([float(np.float32(0.1)) + above, -2, -2]),
            np.array([[1, 2], [-1, -1], [-1, -1]], np.int32),
            np.array([3, 1, 2], np.int32),
            np.zeros(1, np.int32),
            rows_of_tree=2,
            columns=1,
            offset=-0.5,
        )
        value = np.float32(0.1)
        for _ in range(abs(steps)):
            value = np.nextafter(value, np.float32(np.inf * steps))
        found = scorer.score_samples(np.array([[float(value) + beside]]))
        np.testing.assert_allclose(found, score)

    def test_the_mean_path_is_twice_the_harmonic_number_less_the_last_step(self) -> None:
        """Within the 1 % by which ln(n − 1) + γ differs from the sum at small n."""
        for rows in (50, 300, 2000):
            harmonic = (1 / np.arange(1, rows)).sum()
            assert mean_path(rows) == pytest.approx(2 * harmonic - 2 * (rows - 1) / rows, rel=0.01)

    def test_rows_of_another_width_are_refused(self) -> None:
        scorer = forest_of(fit(IsolationForest(n_estimators=2, random_state=0), drawn(9, 3)))
        with pytest.raises(ValueError, match=r"expected rows \(m, 3\), got \(5, 4\)"):
            scorer.score_samples(drawn(5, 4))


class TestSvm:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize(("nu", "gamma"), [(0.05, "scale"), (0.5, "auto"), (0.3, 0.02), (0.9, 3.0)])
    def test_it_scores_as_scikit_learn(self, shape: tuple[int, int], nu: float, gamma: Any, dtype: Any) -> None:
        estimator = fit(OneClassSVM(nu=nu, gamma=gamma), drawn(*shape, dtype=dtype))
        assert_same_scores(svm_of(estimator), estimator, drawn(70, shape[1], seed=1, dtype=dtype))

    def test_equal_rows_and_columns_that_never_change(self) -> None:
        rows = np.repeat(drawn(20, 4), 5, axis=0)
        rows[:, 1] = 3
        for some in (rows, np.full((50, 3), 2, np.float32)):
            estimator = fit(OneClassSVM(nu=0.2), some)
            assert_same_scores(svm_of(estimator), estimator, np.concatenate([some, some + 1]))

    def test_far_from_everything_the_strangeness_still_grows(self) -> None:
        scorer = svm_of(fit(OneClassSVM(nu=0.2), drawn(100, 3)))
        away = drawn(1, 3) + 20 * np.arange(6, dtype=np.float32)[:, None]
        values = scorer.strangeness(away)
        assert (np.diff(values) > 0).all()
        assert np.isfinite(scorer.strangeness(away + 1e6)).all()

    def test_another_kernel_is_refused(self) -> None:
        with pytest.raises(EstimatorError, match=r"kernel: cannot be read \(got linear\); expected rbf"):
            svm_of(fit(OneClassSVM(kernel="linear"), drawn(20, 3)))


MAKERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "lof": (lambda: LocalOutlierFactor(4, novelty=True), lof_of),
    "forest": (lambda: IsolationForest(n_estimators=5, random_state=0), forest_of),
    "svm": (lambda: OneClassSVM(nu=0.2), svm_of),
}


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(MAKERS)), rows=st.integers(2, 40), columns=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_any_sample_scores_as_scikit_learn(name: str, rows: int, columns: int, seed: int) -> None:
    """And the strangeness puts rows into the opposite order of the scores."""
    make, read = MAKERS[name]
    estimator = fit(make(), drawn(rows, columns, seed))
    scorer, queries = read(estimator), drawn(15, columns, seed + 100)
    assert_same_scores(scorer, estimator, queries)
    scores, strangeness = scorer.score_samples(queries), scorer.strangeness(queries)
    lower = scores[:, None] < scores - 1e-9
    assert (strangeness[:, None] > strangeness)[lower].all()


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_read_back_from_its_arrays(name: str) -> None:
    make, read = MAKERS[name]
    scorer, queries = read(fit(make(), drawn(50, 3))), drawn(20, 3, seed=1)
    again = SCORERS[name].from_arrays({**scorer.arrays(), "levels": np.zeros(2)})
    np.testing.assert_array_equal(again.decision_function(queries), scorer.decision_function(queries))


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("lof", "_fit_X"),
        ("lof", "_lrd"),
        ("lof", "_distances_fit_X_"),
        ("lof", "n_neighbors_"),
        ("forest", "estimators_"),
        ("forest", "estimators_features_"),
        ("forest", "max_samples_"),
        ("svm", "_gamma"),
        ("svm", "intercept_"),
    ],
)
def test_an_estimator_that_lacks_an_attribute_is_one_line_with_the_version(name: str, attribute: str) -> None:
    make, read = MAKERS[name]
    estimator = fit(make(), drawn(30, 3))
    changed = type(type(estimator).__name__, (), {})()  # a later version's, whose attribute has another name
    changed.__dict__.update({key: value for key, value in everything(estimator).items() if key != attribute})
    with pytest.raises(EstimatorError) as refused:
        read(changed)
    assert str(refused.value) == (
        f"{type(estimator).__name__}: the attribute {attribute} is missing (got scikit-learn {sklearn.__version__}); "
        f"expected {attribute}; install scikit-learn 1.6 to 1.9, or use another --estimator"
    )


def everything(estimator: Any) -> dict[str, Any]:
    """Return the attributes of a fitted estimator, with those that it computes."""
    computed = {name: getattr(estimator, name) for name in ("intercept_",) if hasattr(estimator, name)}
    return {**vars(estimator), **computed}


def test_arrays_of_another_shape_are_one_line_with_the_version() -> None:
    estimator = copy.copy(fit(LocalOutlierFactor(4, novelty=True), drawn(30, 3)))
    estimator._lrd = estimator._lrd[:-1]
    with pytest.raises(EstimatorError, match=r"^LofScorer: expected a sample .* \(got scikit-learn [\d.]+\); expected"):
        lof_of(estimator)


def of_lof(**changed: Any) -> LofScorer:
    arrays = {"sample": np.zeros((3, 2)), "reach": np.ones(3), "densities": np.ones(3), "neighbours": 2, "offset": -1.5}
    return LofScorer(**{**arrays, **changed})


def of_forest(**changed: Any) -> ForestScorer:
    arrays = {
        "splits": np.array([1, -1, -1], np.int32),
        "thresholds": np.zeros(3),
        "children": np.array([[1, 2], [-1, -1], [-1, -1]], np.int32),
        "sizes": np.array([2, 1, 1], np.int32),
        "roots": np.zeros(1, np.int32),
        "rows_of_tree": 2,
        "columns": 2,
        "offset": -0.5,
    }
    return ForestScorer(**{**arrays, **changed})


def of_svm(**changed: Any) -> SvmScorer:
    return SvmScorer(**{"vectors": np.zeros((3, 2)), "weights": np.ones(3), "gamma": 1.0, "offset": 1.0, **changed})


@pytest.mark.parametrize(
    ("make", "changed", "complaint"),
    [
        (of_lof, {"sample": np.zeros((0, 2))}, "expected a sample"),
        (of_lof, {"reach": np.ones(2)}, "expected a sample"),
        (of_lof, {"sample": np.full((3, 2), np.nan)}, "must be finite"),
        (of_lof, {"neighbours": 4}, "neighbours must be 1 to the 3 rows of the sample, got 4"),
        (of_lof, {"neighbours": 0}, "got 0"),
        (of_forest, {"thresholds": np.zeros(2)}, "expected splits"),
        (of_forest, {"thresholds": np.full(3, np.inf)}, "expected finite thresholds"),
        (of_forest, {"splits": np.array([2, -1, -1], np.int32)}, "splits below 2"),
        (of_forest, {"children": np.array([[0, 2], [-1, -1], [-1, -1]], np.int32)}, "children behind their node"),
        (of_forest, {"children": np.array([[1, 3], [-1, -1], [-1, -1]], np.int32)}, "children behind their node"),
        (of_forest, {"roots": np.array([3], np.int32)}, "roots among the nodes"),
        (of_forest, {"roots": np.zeros(0, np.int32)}, "got 0 trees"),
        (of_svm, {"weights": np.ones(2)}, "expected vectors"),
        (of_svm, {"weights": np.full(3, np.nan)}, "must be finite"),
        (of_svm, {"gamma": -1.0}, "gamma must be at least 0 and weights above 0, got -1 and 1"),
        (of_svm, {"weights": np.array([1.0, 0, 1])}, "got 1 and 0"),
    ],
)
def test_arrays_that_cannot_be_are_refused(make: Any, changed: dict[str, Any], complaint: str) -> None:
    make()
    with pytest.raises(ValueError, match=complaint):
        make(**changed)
