"""The page of a trained classifier."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import av
import numpy as np
from labelled_pictures import write, yard

from pipeline.evaluation.classes_page import Mistake, matrix, write_classes
from pipeline.manifests.manifest import Video
from pipeline.sources.base import FrameSpec

FIGURES = {
    **{name: {"value": 0.75, "interval_95": [0.5, 0.875]} for name in ("auc", "recall_at_2", "accuracy", "recall")},
    "precision": {"value": None, "reason": "no picture was called an anomaly"},
    "pictures": 8,
    "groups": 5,
    "confusion": [[3, 1], [1, 3]],
}


def test_the_cells_of_the_matrix_are_shares_of_their_row() -> None:
    drawn = matrix(np.array([[3, 1], [0, 0]]), ("normal", "a"))
    assert [(cell["count"], cell["share"], cell["per_cent"]) for cell in drawn["cells"]] == [
        (3, 0.75, "75 %"),
        (1, 0.25, "25 %"),
        (0, 0.0, "0 %"),
        (0, 0.0, "0 %"),
    ]
    places = {(cell["x"], cell["y"]) for cell in drawn["cells"]}
    assert len(places) == 4
    assert max(x for x, _ in places) + drawn["side"] == drawn["width"]


def test_the_page_has_figures_matrix_and_pictures_with_heat(tmp_path: Path) -> None:
    file = write(tmp_path / "1.png", yard(1, box=True))
    heat = np.zeros((3, 4), np.float32)
    heat[2, 3] = 1
    mistakes = [
        Mistake("<b>1.png</b>", file, None, "anomaly", "normal", 0.0123, heat),
        Mistake("gone.png", tmp_path / "gone.png", None, "normal", "anomaly", 0.2, heat),
    ]
    page = tmp_path / "report.html"
    write_classes(
        page,
        name="gate",
        classes=("normal", "anomaly"),
        parts={"out_of_fold": FIGURES},
        seen=FrameSpec(96, 128),
        mistakes=mistakes,
    )
    text = page.read_text()
    assert "<td>auc</td><td>0.750</td><td>0.500 to 0.875</td>" in text
    assert "<td>precision</td><td>–</td><td>no picture was called an anomaly</td>" in text
    assert text.count(">75 %<") == 2
    assert "&lt;b&gt;1.png&lt;/b&gt;" in text
    assert "probability of its own class 0.012" in text
    assert text.count("no picture</div>") == 1
    (uri,) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    (tmp_path / "shown.jpg").write_bytes(base64.b64decode(uri))
    with av.open(str(tmp_path / "shown.jpg")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert shown.shape == (240, 320, 3)
    corner, far = shown[200:, 280:].mean((0, 1)), shown[:80, :80].mean((0, 1))
    assert corner[0] - corner[2] > 60 > far[0] - far[2]  # red where the heat is


def test_a_frame_of_a_folder_of_pictures_is_shown(tmp_path: Path) -> None:
    """A video that is a folder states no rate: the manifest does."""
    for number in range(3):
        write(tmp_path / "film" / f"{number}.png", yard(number))
    video = Video(tmp_path / "film", 1, fps=5.0)
    mistake = Mistake("film, frame 2", video, 2, "anomaly", "normal", 0.1, np.zeros((3, 4), np.float32))
    page = tmp_path / "report.html"
    write_classes(
        page, name="gate", classes=("normal", "anomaly"), parts={}, seen=FrameSpec(96, 128), mistakes=[mistake]
    )
    assert "data:image/jpeg;base64," in page.read_text()
