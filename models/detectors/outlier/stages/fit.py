"""The stage ``fit``: the estimator, fitted to the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.detectors.outlier import fitting
from models.detectors.outlier.judging import Judge, judge_of
from models.detectors.outlier.projection import Rows
from models.detectors.outlier.recipe import OutlierRecipe
from models.jobs.rows import read_json, write_json

FILE, ABOUT_FILE = "fitted.npz", "about.json"


def compute(folder: Path, recipe: OutlierRecipe, rows: Rows) -> None:
    """Write it, and what a card says about the fit.

    Raises:
        EstimatorError: this version of scikit-learn differs in what is read from its estimators.
        OSError: the folder cannot be written.
    """
    fitted = fitting.fit(rows, recipe)
    np.savez(folder / FILE, **fitted.judge.arrays())  # type: ignore[arg-type]
    about = {
        "scikit_learn": fitted.scikit_learn,
        "rows": len(rows),
        "values": rows.shape[1],
        "rows_left_out": int((~fitted.used).sum()),
    }
    write_json(folder / ABOUT_FILE, about)


def read(folder: Path, recipe: OutlierRecipe) -> tuple[Judge, dict[str, Any]]:
    """Return what :func:`compute` wrote. Raises OSError."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        judge = judge_of(recipe.estimator, dict(arrays), pooled=recipe.features == "pooled")
    about: dict[str, Any] = read_json(folder / ABOUT_FILE)
    return judge, about
