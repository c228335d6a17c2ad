"""The code that the bench of Ped2 depends on, so that it knows when its figures are out of date."""

from __future__ import annotations

from models.code import code_modules


def test_it_depends_on_its_training_and_not_on_what_made_the_features(load):
    ped2 = load("ped2")
    found = set(code_modules(ped2.CODE, without=ped2.WITHOUT))
    assert {"models.detectors.mist.standardising", "models.data.npy_rows", "operators.smoothing"} <= found
    assert not {"pipeline.sources.decode", "models.detectors.mist.product"} & found
