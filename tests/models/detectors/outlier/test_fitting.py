"""Fitting an estimator to clean rows, and to rows with outliers among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.decomposition import PCA

from models.data.clip_places import ClipPlaces
from models.detectors.outlier.fitted import EstimatorError
from models.detectors.outlier.fitting import fit, fit_projection
from models.detectors.outlier.projection import Projection, rows_of
from models.detectors.outlier.recipe import OutlierRecipe
from models.detectors.outlier.stages.product import usual_clips
from models.jobs.learning import Judged

ESTIMATORS = ("lof", "forest", "svm")
USUAL, PLANTED = 950, 50
SHARE = PLANTED / (USUAL + PLANTED)


def usual_rows(count: int = USUAL, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def planted_rows(spread: float) -> np.ndarray:
    """Rows far from the usual ones: as far from one another as those, or alike."""
    return (np.random.default_rng(1).normal(size=(PLANTED, 6)) * spread + 8).astype(np.float32)


def values(fitted: Any, rows: np.ndarray) -> np.ndarray:
    """Return the strangeness of rows, as of a picture of one line of places."""
    return fitted.judge.cells(np.ascontiguousarray(rows.T)[:, None])[0]


def recipe(estimator: str, **changed: Any) -> OutlierRecipe:
    """Return a recipe for rows that are of incidents with the share ``contamination`` as it is."""
    return OutlierRecipe.model_validate({"estimator": estimator, "covered": 1, **changed})


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("spread", [0.01, 1])
def test_planted_outliers_do_not_become_normal_where_their_share_is_stated(estimator: str, spread: float) -> None:
    """A heap of 5 % alike, or scattered ones: stranger than nearly all further usual rows."""
    planted = planted_rows(spread)
    rows = np.concatenate([usual_rows(), planted])
    fitted = fit(rows, recipe(estimator, mode="outlier", contamination=SHARE))
    assert (~fitted.used).sum() == PLANTED
    assert not fitted.used[USUAL:].any()
    further = values(fitted, usual_rows(500, seed=2))
    assert values(fitted, planted).min() > np.quantile(further, 0.998)


@pytest.mark.parametrize(("estimator", "above"), [("lof", 0.1), ("svm", 0.01)])
def test_planted_outliers_that_look_alike_are_normal_to_a_fit_to_clean_footage(estimator: str, above: float) -> None:
    """The reason for the mode: 50 rows alike are one another's 20 neighbours, and support vectors on the border."""
    planted = planted_rows(0.01)
    rows = np.concatenate([usual_rows(), planted])
    fitted = fit(rows, recipe(estimator))
    assert fitted.used.all()
    further = values(fitted, usual_rows(500, seed=2))
    assert np.median(values(fitted, planted)) < np.quantile(further, 1 - above)


def test_a_forest_finds_a_fifth_of_the_rows_that_are_alike() -> None:
    """Trees of 256 rows have 51 of them, whose paths are as long as those of usual rows: they find 151 of 200."""
    heap = planted_rows(0.01).repeat(4, axis=0)
    fitted = fit(np.concatenate([usual_rows(800), heap]), recipe("forest", mode="outlier", contamination=0.2))
    assert not fitted.used[800:].any()


def test_the_projection_is_that_of_the_rows_that_are_used() -> None:
    rows = np.concatenate([usual_rows(), planted_rows(1)])
    mean = fit(rows, recipe("lof", mode="outlier", contamination=SHARE)).judge.arrays()["mean"]
    np.testing.assert_allclose(mean, rows[:USUAL].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_stated_share_of_clean_footage_costs_its_own_rows_alone(estimator: str) -> None:
    """The order of further rows hardly changes: the rank correlation is above 0.9."""
    clean = fit(usual_rows(), recipe(estimator))
    stated = fit(usual_rows(), recipe(estimator, mode="outlier", contamination=0.1))
    assert stated.used.sum() == 855
    further = usual_rows(300, seed=2)
    ranks = [np.argsort(np.argsort(values(one, further))) for one in (clean, stated)]
    assert np.corrcoef(ranks)[0, 1] > 0.9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_sample_of_equal_rows_can_be_fitted(estimator: str) -> None:
    """A camera whose picture is one colour."""
    fitted = fit(np.full((120, 6), 3, np.float32), recipe(estimator, mode="outlier", contamination=0.1))
    assert np.isfinite(values(fitted, usual_rows(50))).all()


def test_fewer_rows_than_neighbours() -> None:
    fitted = fit(usual_rows(12), recipe("lof", mode="outlier", contamination=0.4))
    assert fitted.judge.estimator.arrays()["neighbours"] == 6
    assert np.isfinite(values(fitted, usual_rows(50))).all()


def test_an_estimator_that_scikit_learn_cannot_fit_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ν = 1, which no recipe can have, the problem has no solution."""
    monkeypatch.setattr("models.detectors.outlier.fitting._HALF", 1.0)
    with pytest.raises(EstimatorError) as refused:
        fit(usual_rows(100), recipe("svm", mode="outlier", contamination=0.1))
    assert str(refused.value).startswith("OneClassSVM: cannot be fitted to 100 rows of the footage (got: The dual ")
    assert "\n" not in str(refused.value)


def test_an_incident_covers_some_of_the_places_of_its_clips() -> None:
    """Of 1000 rows, a fifth are of contaminated clips, and a tenth of these may be of what is unusual there."""
    rows = usual_rows(1000)
    of_places = recipe("svm", mode="outlier", contamination=0.2, covered=0.1)
    assert (~fit(rows, of_places).used).sum() == 20
    of_clips = recipe("svm", mode="outlier", contamination=0.2, covered=0.1, features="pooled")
    assert (~fit(rows, of_clips).used).sum() == 200


def test_a_forest_cuts_the_values_themselves() -> None:
    assert "axes" not in fit(usual_rows(), recipe("forest")).judge.arrays()
    assert "axes" in fit(usual_rows(), recipe("lof")).judge.arrays()


class TestProjection:
    def test_it_is_scikit_learns(self) -> None:
        rows = usual_rows() * np.array([5, 3, 1, 0.1, 0.1, 0.1], np.float32) + 7
        projection = fit_projection(rows, 0.95)
        expected = PCA(0.95, svd_solver="full").fit(rows.astype(np.float64))
        assert projection(rows).shape == (USUAL, 2)
        np.testing.assert_allclose(projection(rows), expected.transform(rows), atol=1e-4)

    def test_the_whole_variance_needs_none(self) -> None:
        rows = usual_rows(10)
        assert fit_projection(rows, 1).arrays() == {}
        np.testing.assert_array_equal(fit_projection(rows, 1)(rows), rows)

    def test_rows_are_places_line_by_line_or_their_mean(self) -> None:
        described = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
        places = rows_of(described, pooled=False)
        assert places.shape == (12, 2)
        assert places[5].tolist() == described[:, 1, 1].tolist() == [5, 17]
        np.testing.assert_array_equal(rows_of(described, pooled=True), [[5.5, 17.5]])
        np.testing.assert_array_equal(rows_of(described[:, 0, 0], pooled=True), [[0, 12]])

    @pytest.mark.parametrize(
        ("mean", "axes", "complaint"),
        [
            (np.zeros(3), None, "or neither"),
            (np.zeros(3), np.zeros((2, 2)), r"got \(3,\) and \(2, 2\)"),
            (np.full(2, np.nan), np.zeros((2, 2)), "finite"),
        ],
    )
    def test_arrays_that_cannot_be_are_refused(self, mean: Any, axes: Any, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            Projection(mean, axes)


class TestContaminatedHeldBackClips:
    def test_the_highest_of_the_held_back_ones_are_left_out(self) -> None:
        values = np.array([9, 1, 2, 3, 8, 4, 5, 7, 6, 0.0])
        held_back = np.array([False, *[True] * 9])
        assert usual_clips(values, held_back, 0.25).tolist() == [True] * 4 + [False] + [True] * 2 + [False] + [True] * 2
        assert usual_clips(values, held_back, 0.0).all()

    def test_thresholds_are_found_without_them(self) -> None:
        """In three runs, of which the second is left out as a whole."""
        run = np.array([0, 0, 0, 1, 1, 2, 2, 2])
        held_back = np.array([True, True, True, True, True, False, False, False])
        places = ClipPlaces(np.zeros(8, np.int64), run, np.arange(8.0), np.arange(8.0) + 1, held_back)
        scores = np.arange(8) / 10
        usual = np.array([True, False, True, False, False, True, True, True])
        judged = Judged(places, scores, heat_of=None, usual=usual)
        assert [one.tolist() for one in judged.held_back_runs()] == [[0, 0.2]]
        assert judged.left_out == 3
        everything = Judged(places, scores, heat_of=None)
        assert [one.tolist() for one in everything.held_back_runs()] == [[0, 0.1, 0.2], [0.3, 0.4]]
        assert everything.left_out == 0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"estimator": "knn"}, "'lof', 'forest' or 'svm'"),
        ({"mode": "outlier"}, "mode outlier needs the share of outliers, contamination, above 0; got 0"),
        ({"contamination": 0.1}, "contamination must be 0 in mode novelty, .*; got 0.1"),
        ({"mode": "outlier", "contamination": 0.5}, "less than 0.5"),
        ({"backbone": "i3d-kinetics400"}, "features of i3d-kinetics400 must be pooled, got places"),
        (
            {"backbone": "i3d-kinetics400", "features": "pooled", "enlarge": 1},
            "enlarge is a setting of efficientnet-lite0, got 1 for i3d-kinetics400",
        ),
        ({"backbone": "resnet"}, "'efficientnet-lite0'"),
        ({"layers": ["stage_5", "stage_3"]}, "from fine to coarse, got stage_5, stage_3"),
        ({"grid": "stage_4"}, "grid must be one of the layers stage_3, stage_5, got stage_4"),
        ({"enlarge": 3}, "enlarge must divide the 16 pixels of a cell of stage_5, got 3"),
        ({"height": 100}, "height must be a multiple of a cell's 8 pixels, got 100"),
        ({"nu": 1}, "less than 1"),
        ({"gamma": -1}, "greater than 0"),
        ({"gamma": "wide"}, "gamma"),
        ({"variance": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        OutlierRecipe.model_validate(settings)


def test_pooled_features_have_no_map_for_a_fused_detector() -> None:
    with pytest.raises(ValueError, match="features must be places for a map of cells, got pooled"):
        _ = OutlierRecipe(features="pooled").cell
