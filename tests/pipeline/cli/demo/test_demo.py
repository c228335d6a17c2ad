"""The demo before its servers are there: what it refuses, and how its films are rendered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from tiny_motion import motion_model

from models.card import BUILT_IN
from pipeline.cli.demo.command import _described_by, _named, _sparse
from pipeline.courtyard.renderer import RenderError, render_films
from pipeline.courtyard.settings import SceneSettings
from pipeline.names import ascii_name, checked_name

COMMAND = (sys.executable, "-P", "-m", "pipeline.cli", "demo")


def demo(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


def descendants(marker: str) -> list[str]:
    """Command lines of this machine's processes that name ``marker``, a test's own folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if marker in line:
            found.append(line)
    return found


def wait_for(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seconds", "5"), "--seconds 5: expected 10 to 600"),
        (("--seconds", "nan"), "--seconds nan: expected 10 to 600"),
        (("--cameras", "0"), "--cameras 0: expected 1 to 16"),
        (("--seed", "-1"), "seed -1: expected a whole number from 0 to 4294967295"),
        (("--seed", "4294967295"), "seed 4294967296: expected a whole number"),  # the second camera's
    ],
)
def test_an_impossible_run_is_refused_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = demo(*arguments, "--json", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = demo("--out", tmp_path / "file" / "run")
    assert result.returncode == 2
    assert result.stderr == f"mistwatch: --out {tmp_path}/file/run: cannot be written: Not a directory\n"


def test_an_unknown_model_is_refused_before_anything_is_rendered(tmp_path: Path) -> None:
    result = demo("--model", "nonesuch", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "nonesuch" in result.stderr
    assert not (tmp_path / "run").exists()


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    result = demo("--model", "courtyard", "--model", BUILT_IN / "courtyard", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stderr == (
        f"mistwatch: --model {BUILT_IN / 'courtyard'}: a model named courtyard is there already: courtyard\n"
    )


def test_detectors_have_names_that_a_site_takes(tmp_path: Path) -> None:
    cameras = ascii_name("駐車場"), "gate" * 16
    models = [motion_model(tmp_path / f"{at}", f"{camera}-student-teacher") for at, camera in enumerate(cameras)]
    named = _named([str(model) for model in models])
    assert list(named.values()) == [str(model) for model in models]
    assert [checked_name(name) for name in named] == list(named)


def test_a_model_with_a_clip_for_every_frame_is_thinned_at_the_same_lag(tmp_path: Path) -> None:
    """Every second of 10 clips a second. Three clips lag by (3 − 1) / 2 · 1 frames, two by (2 − 1) / 2 · 2."""
    assert _sparse(str(motion_model(tmp_path / "gate", "gate-motion"))) == {
        "clip": {"stride": 2},
        "alerts": {"kernel": 2},
    }
    assert _sparse("courtyard") == {}


def test_alerts_are_described_by_the_detector_that_the_embedding_was_trained_on(tmp_path: Path) -> None:
    motion = str(motion_model(tmp_path / "gate", "gate-motion"))
    assert _described_by({"gate": motion, "any": "courtyard"}) == "any"
    assert _described_by({"gate": motion, "fights": "fights"}) is None


def test_without_opencv_it_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ModuleNotFoundError('none', name='cv2')")
    result = demo("--out", tmp_path / "run", PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "pip install 'mistwatch[demo]'" in result.stderr


def test_films_are_rendered_and_every_frame_is_counted(tmp_path: Path) -> None:
    films = {tmp_path / f"{seed}.mp4": SceneSettings(seed=seed, seconds=1 + seed) for seed in (0, 1, 2)}
    told: list[tuple[int, int]] = []
    render_films(films, lambda done, of: told.append((done, of)))
    expected = sum(round(settings.seconds * settings.fps) for settings in films.values())
    assert told[-1] == (expected, expected)
    assert told == sorted(told)
    for path, settings in films.items():
        with av.open(str(path)) as film:
            assert sum(1 for _ in film.decode(video=0)) == round(settings.seconds * settings.fps)


def test_a_film_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "film.mp4"
    with pytest.raises(RenderError, match="No such file or directory") as failure:
        render_films({nowhere: SceneSettings(seconds=1)}, lambda _done, _of: None)
    assert str(nowhere) in str(failure.value)


class Interrupted(BaseException):
    """What a signal raises."""


def test_rendering_that_is_interrupted_leaves_no_process_and_no_half_film(tmp_path: Path) -> None:
    def interrupt(done: int, _of: int) -> None:
        if done > 5:
            raise Interrupted

    films = {tmp_path / f"{seed}.mp4": SceneSettings(seed=seed, seconds=3600) for seed in (1, 2)}
    with pytest.raises(Interrupted):
        render_films(films, interrupt)
    assert descendants(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_rendering_ends_it_at_once(tmp_path: Path, number: signal.Signals, status: int) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "600", "--json", "--out", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(run.glob("films/*.tmp")))
        os.killpg(process.pid, number)  # as a terminal does
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    assert "stopped before the end" in errors.splitlines()[-1]
    assert descendants(str(run)) == []
    assert list((run / "films").iterdir()) == []


def test_the_renderers_of_a_demo_that_is_killed_end_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "--seconds", "600", "--out", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(run.glob("films/*.tmp")))
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: descendants(str(run)) == [])
    wait_for(lambda: not list((run / "films").iterdir()))
