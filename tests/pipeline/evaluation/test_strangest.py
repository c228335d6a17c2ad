"""The page of the strangest moments: its pictures, its options, and nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from walking_films import HEIGHT, WIDTH, pictures, write

from pipeline.evaluation.strangest import StrangeMoment, write_strangest
from pipeline.sources.base import FrameSpec

SEEN = FrameSpec(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("films") / "yard <1>.mp4", pictures(12))


def moment(film: Path, seconds: float, **changes: object) -> StrangeMoment:
    """A moment whose heat is the lower right quarter."""
    heat = np.zeros((12, 20), np.float32)
    heat[6:, 10:] = 1
    given: dict[str, object] = {"film": film, "seconds": seconds, "start": 3600 + seconds, "end": 3600.2 + seconds}
    return StrangeMoment(**(given | {"score": 0.7, "heat": heat, "held_back": False} | changes))  # type: ignore[arg-type]


def written(page: Path, moments: list[StrangeMoment]) -> str:
    judged = "judged 4000 of about 72000 clips"
    write_strangest(page, camera="yard", seconds=7200, judged=judged, threshold=0.6, seen=SEEN, moments=moments)
    return page.read_text(encoding="utf-8")


def test_a_moment_has_its_picture_with_heat_and_the_option_that_leaves_it_out(film: Path, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", [moment(film, 8.0), moment(film, 2.0, score=0.4, held_back=True)])
    assert re.findall(r"--exclude ([\d:]+-[\d:]+)", text) == ["1:00:03-1:00:14", "59:57-1:00:08"]
    assert text.count('class="above"') == 1
    assert "(judged 4000 of about 72000 clips)" in text
    assert text.count("held back from learning") == 1
    assert "yard &lt;1&gt;.mp4" in text
    found = [base64.b64decode(uri) for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]
    assert len(found) == 2
    picture = np.asarray(Image.open(io.BytesIO(found[0])).convert("RGB"), np.float64)
    assert picture.shape[0] == 240
    red = picture[..., 0] - picture[..., 2]
    assert red[130:, 210:].mean() > 80  # heat
    assert abs(red[:110, :190].mean()) < 5  # none: a grey picture
    shown = np.asarray(Image.fromarray(pictures(12)[80]).resize((400, 240)), np.float64)
    # The picture at 8 s, and not that at 2 s.
    assert np.abs(picture[:110, :190, 1] - shown[:110, :190]).mean() < 8


def test_a_moment_without_heat_has_its_picture_as_it_is(film: Path, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", [moment(film, 8.0, heat=None)])
    (found,) = [base64.b64decode(uri) for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]
    picture = np.asarray(Image.open(io.BytesIO(found)).convert("RGB"), np.float64)
    assert np.abs(picture[..., 0] - picture[..., 2]).max() < 5


def test_a_film_that_is_gone_loses_its_pictures_alone(film: Path, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", [moment(tmp_path / "gone.mp4", 1.0), moment(film, 2.0)])
    assert text.count("no picture") == 1
    assert text.count("data:image/jpeg") == 1
    assert text.count("--exclude") == 2


def test_a_page_requests_nothing(film: Path, tmp_path: Path) -> None:
    text = written(tmp_path / "page.html", [moment(film, 1.0)])
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text


def test_the_option_reads_back_as_the_moment(film: Path) -> None:
    from models.data.normal_footage import parse_stretch

    for seconds in (0.0, 3.7, 59.95, 3599.99):
        one = moment(film, 0, start=seconds, end=seconds + 0.3)
        stretch = parse_stretch(one.to_exclude)
        assert stretch.start <= max(seconds - 5, 0) <= stretch.start + 1
        assert stretch.end - 1 <= seconds + 5.3 <= stretch.end
