"""The bench of cameras reads its film through the worker's own code, with its timed parts in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_cameras_of_a_film_are_watched_and_every_kind_of_time_is_counted(
    load: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = load("cameras")
    monkeypatch.setattr(cameras.decode, "Scaler", cameras.decode.Scaler)  # the bench replaces it; here it comes back
    found = cameras.measure(cameras.make_film(data, tmp_path, 6.0), 2, 2.0)
    assert found["decoding"] > 0
    assert found["scaling"] > 0
