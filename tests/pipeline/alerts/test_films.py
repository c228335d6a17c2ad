"""Films of alerts on the worker's side: names, one quota with the pictures, failures that are counted, heat."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import numpy as np
import pytest

from operators.heat_kind import HeatKind
from pipeline.alerts.alert_film import AlertFilm, FilmedAlert, FilmLengths
from pipeline.alerts.evidence import EvidenceStore
from pipeline.alerts.film import ClipHeat, FilmNotes, clip_heat
from pipeline.alerts.films import CameraFilms, FilmKeeper, FilmOutcome
from pipeline.heat import Heat
from pipeline.sources.filming.orders import FilmEnd, FilmOrder, FilmProblem, FilmReport, FilmState
from pipeline.sources.scale import Part

STARTED = datetime(2026, 5, 4, 12, 0, 10, tzinfo=UTC)
ALERT = UUID(int=7)


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


class WritingSource:
    """A source whose films are plain bytes, written when they end."""

    live = True

    def __init__(self, films: CameraFilms, content: bytes = b"film", **end: object) -> None:
        self.orders: list[FilmOrder] = []
        self.ends: list[FilmEnd] = []
        self._films, self._content = films, content
        self._report = {"state": FilmState.DONE, "lead_seconds": 3.5, "seconds": 9.0} | end
        self._files: dict[int, int] = {}

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        self.orders.append(order)
        self._files[order.number] = os.dup(descriptor)
        self._films.report(FilmReport(self._films.camera, order.number, FilmState.BEGUN, lead_seconds=3.5))

    def end_film(self, end: FilmEnd) -> None:
        self.ends.append(end)
        descriptor = self._files.pop(end.number)
        os.write(descriptor, self._content)
        os.close(descriptor)
        self._films.report(FilmReport(self._films.camera, end.number, **self._report))  # type: ignore[arg-type]


class Kept:
    """A keeper over a folder, with the outcomes of its films."""

    def __init__(self, folder: Path, *, quota_bytes: int = 10**6) -> None:
        self.store = EvidenceStore(folder, quota_bytes=quota_bytes, max_age_seconds=1e6)
        self.outcomes: list[tuple[str, FilmOutcome]] = []
        self.keeper = FilmKeeper(
            self.store, FilmLengths(2.0, 5.0, 60.0), lambda camera, outcome: self.outcomes.append((camera, outcome))
        )
        self.films = self.keeper.camera("gate")

    def film(self, name: str = "a", content: bytes = b"film", **end: object) -> AlertFilm:
        """Make a film from its order to its end."""
        self.films.source = WritingSource(self.films, content, **end)
        film = self.films.begin(alert(name))
        assert film is not None
        self.films.end(film, "s", 12.0)
        return film

    def settle(self, outcomes: int) -> list[FilmOutcome]:
        """Wait for so many outcomes."""
        until = time.monotonic() + 60
        while len(self.outcomes) < outcomes:
            assert time.monotonic() < until, self.outcomes
            time.sleep(0.005)
        return [outcome for _, outcome in self.outcomes]


def alert(name: str = "a") -> FilmedAlert:
    return FilmedAlert(ALERT, None, name, "s", 10.0, STARTED)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "evidence")


def test_a_film_is_named_at_once_and_appears_complete_with_its_notes(kept: Kept) -> None:
    film = kept.film()
    named = film.named()
    assert named is not None
    assert kept.settle(1) == [FilmOutcome.COMPLETE]
    assert path_of(named.uri).read_bytes() == b"film"
    notes = FilmNotes.model_validate_json(path_of(named.notes).read_bytes())
    assert (notes.film, notes.alert_id, notes.camera) == ("a.mp4", ALERT, "gate")
    assert (notes.complete, notes.lacks, notes.heat) == (True, None, None)
    assert (notes.seconds, notes.alert_starts_at_seconds) == (9.0, 3.5)
    assert notes.started_at == datetime(2026, 5, 4, 12, 0, 6, 500_000, tzinfo=UTC)


def test_the_length_that_is_named_before_the_film_is_done_is_the_expected_one(kept: Kept) -> None:
    kept.films.source = source = WritingSource(kept.films)
    source.end_film = lambda end: None  # type: ignore[method-assign]  # the post-roll goes on
    film = kept.films.begin(alert())
    assert film is not None
    assert [path.suffix for path in kept.store.folder.glob("*/*")] == [".tmp"]
    kept.films.end(film, "s", 12.0)
    named = film.named()
    assert named is not None
    assert named.alert_starts_at_seconds == 3.5
    assert named.seconds == 3.5 + 2.0 + 5.0
    assert not path_of(named.uri).exists()
    film.ends_at = 1000.0
    again = film.named()
    assert again is not None
    assert again.seconds == 3.5 - 2.0 + 60.0  # the longest film, from its wanted start on


def test_the_order_has_the_lengths_and_a_share_of_the_quota(kept: Kept) -> None:
    kept.film()
    source = kept.films.source
    assert isinstance(source, WritingSource)
    assert source.orders == [FilmOrder(1, "s", 10.0, 2.0, 5.0, 60.0, 250_000)]


def test_films_and_pictures_share_the_quota_and_the_oldest_go_first(tmp_path: Path) -> None:
    kept = Kept(tmp_path, quota_bytes=4000)
    old = kept.store.path("gate", "old", ".jpg")
    kept.store.put(old, b"x" * 2000, what="picture")
    kept.film("b", b"y" * 900)
    kept.settle(1)
    assert old.exists()
    kept.film("c", b"z" * 900)
    kept.settle(2)
    kept.keeper.close(60)
    assert not old.exists()
    assert kept.store.total_bytes <= 4000
    assert sum(file.stat().st_size for file in tmp_path.glob("*/*")) == kept.store.total_bytes
    assert (tmp_path / "gate" / "c.mp4").exists()


def test_a_film_beyond_the_whole_quota_fails_and_leaves_the_others(tmp_path: Path) -> None:
    kept = Kept(tmp_path, quota_bytes=3000)
    kept.film("b")
    kept.settle(1)
    film = kept.film("c", b"z" * 4000)
    assert kept.settle(2) == [FilmOutcome.COMPLETE, FilmOutcome.FAILED]
    assert film.named() is None
    assert {file.name for file in tmp_path.glob("*/*")} == {"b.mp4", "b.film.json"}


def test_a_film_that_is_larger_than_was_asked_for_is_not_kept(kept: Kept) -> None:
    """A decoder that a camera has taken over may write what it likes."""
    film = kept.film(content=b"z" * 300_000)
    assert kept.settle(1) == [FilmOutcome.FAILED]
    assert film.named() is None
    assert list(kept.store.folder.glob("*/*")) == []


def test_a_film_that_fails_leaves_nothing_and_is_not_named(kept: Kept) -> None:
    film = kept.film(state=FilmState.FAILED, problem=FilmProblem.DISK, lead_seconds=None, seconds=None)
    assert kept.settle(1) == [FilmOutcome.FAILED]
    assert film.named() is None
    assert list(kept.store.folder.glob("*/*")) == []


def test_a_film_that_lacks_its_pre_roll_is_kept_and_says_so(kept: Kept) -> None:
    film = kept.film(problem=FilmProblem.FORGOTTEN)
    assert kept.settle(1) == [FilmOutcome.INCOMPLETE]
    notes = FilmNotes.model_validate_json(film.notes_path.read_bytes())
    assert (notes.complete, notes.lacks) == (False, "forgotten")


def test_a_camera_that_cannot_be_filmed_is_counted_and_logged_once(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        kept.film(name, state=FilmState.FAILED, problem=FilmProblem.CODEC, details="its stream is mjpeg")
    assert kept.settle(2) == [FilmOutcome.UNSUPPORTED] * 2
    kept.keeper.close(60)
    said = "".join(capsys.readouterr())
    assert said.count("no films of this camera") == 1
    assert "mjpeg" in said


def test_a_folder_that_cannot_be_written_fails_the_film_alone(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    (tmp_path / "gate").write_text("in the way")
    kept.films.source = WritingSource(kept.films)
    assert kept.films.begin(alert()) is None
    assert kept.settle(1) == [FilmOutcome.FAILED]


def test_a_stop_removes_the_drafts_of_films_that_never_ended(kept: Kept) -> None:
    kept.films.source = source = WritingSource(kept.films)
    source.end_film = lambda end: None  # type: ignore[method-assign]
    kept.films.begin(alert())
    kept.keeper.close(60)
    assert kept.outcomes == [("gate", FilmOutcome.FAILED)]
    assert list(kept.store.folder.glob("*/*")) == []


KILLED = """
    import os, sys
    from pathlib import Path
    from pipeline.alerts.evidence import EvidenceStore

    store = EvidenceStore(Path(sys.argv[1]), quota_bytes=10**6, max_age_seconds=1e6)
    draft, descriptor = store.open_draft(store.path("gate", "a", ".mp4"), what="film")
    os.write(descriptor, b"half")
    os.kill(os.getpid(), 9)
"""


def test_a_crash_leaves_no_half_film(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], check=False, timeout=300)
    (left,) = tmp_path.glob("gate/*")
    assert left.suffix == ".tmp"
    store = EvidenceStore(tmp_path, quota_bytes=10**6, max_age_seconds=1e6)
    assert list(tmp_path.glob("gate/*")) == []
    assert store.total_bytes == 0


def test_the_next_process_counts_films_and_their_notes(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.film()
    kept.settle(1)
    kept.keeper.close(60)
    (tmp_path / "gate" / "own.json").write_text("left alone")
    again = EvidenceStore(tmp_path, quota_bytes=10**6, max_age_seconds=1e6)
    assert again.total_bytes == kept.store.total_bytes > 4


def test_reports_of_films_that_were_never_ordered_are_left_out(kept: Kept) -> None:
    kept.films.report(FilmReport("gate", 99, FilmState.DONE, lead_seconds=1.0, seconds=1.0))
    kept.keeper.close(60)
    assert kept.outcomes == []


def test_heat_lies_over_the_film_at_its_times(kept: Kept) -> None:
    values = np.array([[0.0, 0.5], [1.0, 0.25]], np.float32)
    clip = clip_heat("s", 11.0, 11.5, Heat(values, Part(0, 20, 100, 80), HeatKind.ANOMALY), 100, 100)
    assert clip is not None
    kept.films.source = WritingSource(kept.films)
    film = kept.films.begin(alert())
    assert film is not None
    film.add_heat(clip)
    film.add_heat(ClipHeat("another", 1.0, 2.0, clip.cells, clip.edges, clip.kind))
    kept.films.end(film, "s", 12.0)
    kept.settle(1)
    heat = FilmNotes.model_validate_json(film.notes_path.read_bytes()).heat
    assert heat is not None
    assert (heat.kind, heat.left, heat.top, heat.right, heat.bottom) == ("anomaly", 0.0, 0.2, 1.0, 0.8)
    (one,) = heat.clips
    # The film's first picture is 3.5 s before the alert's, which is at 10 s.
    assert (one.start_seconds, one.end_seconds) == (4.5, 5.0)
    assert list(base64.b64decode(one.cells)) == [0, 128, 255, 64]


def test_heat_is_bounded(kept: Kept) -> None:
    kept.films.source = WritingSource(kept.films)
    film = kept.films.begin(alert())
    assert film is not None
    large = Heat(np.random.default_rng(1).random((500, 300), np.float32), Part(0, 0, 1, 1), HeatKind.ATTENTION)
    for _ in range(3000):
        film.add_heat(ClipHeat("s", 1.0, 2.0, np.zeros((2, 2), np.uint8), (0, 0, 1, 1), HeatKind.ATTENTION))
    assert len(film.heat) <= 1000
    thinned = clip_heat("s", 0.0, 1.0, large, 10, 10)
    assert thinned is not None
    assert max(thinned.cells.shape) <= 64


def test_many_films_of_many_cameras_are_each_settled_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    cameras = [kept.keeper.camera(f"c{number}") for number in range(4)]

    def work(films: CameraFilms) -> None:
        films.source = WritingSource(films)
        for number in range(5):
            film = films.begin(alert(str(number)))
            assert film is not None
            films.end(film, "s", 12.0)

    threads = [threading.Thread(target=work, args=[films]) for films in cameras]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.settle(20) == [FilmOutcome.COMPLETE] * 20
    kept.keeper.close(60)
    assert len(list(tmp_path.glob("*/*.mp4"))) == 20


def test_the_film_of_a_recording_is_named_without_times_whether_it_is_there_yet_or_not(kept: Kept) -> None:
    """Its times come by another thread, and two runs of a recording must give the same events."""
    kept.films.source = source = WritingSource(kept.films)
    source.live = False
    film = kept.films.begin(alert())
    assert film is not None
    kept.films.end(film, "s", 12.0)  # the source has reported its times by now
    named = film.named()
    assert named is not None
    assert (named.started_at, named.seconds, named.alert_starts_at_seconds) == (None, None, None)
    assert kept.keeper.await_due(60.0)
    assert kept.settle(1) == [FilmOutcome.COMPLETE]
    assert film.named() == named
    notes = FilmNotes.model_validate_json(path_of(named.notes).read_bytes())
    assert notes.alert_starts_at_seconds == 3.5
