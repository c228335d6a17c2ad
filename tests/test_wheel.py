"""What a user installs is the wheel, in a folder of their own that may hold names of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from film_pieces import write_piece


@pytest.fixture(scope="session")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that holds the wheel; its dependencies come from the tests' own environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    subprocess.run(build, check=True, capture_output=True, timeout=240)
    (wheel,) = folder.glob("mistwatch-*.whl")
    environment = folder / "venv"
    venv.create(environment)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # Dependencies as a path file, but not the editable install of mistwatch itself: that is found through a .pth of
    # the tests' environment, and .pth files are not read in folders that another .pth names.
    ours = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    (site_packages / "dependencies.pth").write_text(f"{ours}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", str(wheel)], check=True, capture_output=True, timeout=240)
    return environment / "bin"


def _run(installed: Path, cwd: Path, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [installed / arguments[0], *arguments[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def foreign_folder(tmp_path: Path) -> Path:
    """A working directory with packages and folders named like ours, each of which fails when imported."""
    for name in ("models", "operators", "pipeline", "deploy"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"raise RuntimeError('a foreign {name} was imported')\n")
    return tmp_path


def test_the_command_runs_beside_a_folder_named_models(installed: Path, foreign_folder: Path) -> None:
    result = _run(installed, foreign_folder, "mistwatch", "--version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("mistwatch 0.")


def test_the_wheel_brings_weights_schemas_and_templates(installed: Path, foreign_folder: Path) -> None:
    script = (
        "import pathlib, pipeline.alerts, models, operators, deploy\n"
        "assert 'site-packages' in models.__file__, models.__file__\n"
        "folder = pathlib.Path(models.__file__).parent / 'weights' / 'fights'\n"
        "print(*sorted(p.name for p in folder.iterdir()))\n"
        "print(*sorted(p.name for p in (pathlib.Path(pipeline.alerts.__file__).parent / 'schema').iterdir()))\n"
        "report = pathlib.Path(pipeline.alerts.__file__).parent.parent / 'evaluation' / 'report'\n"
        "print(*sorted(p.name for p in (report / 'template').iterdir()))\n"
    )
    result = _run(installed, foreign_folder, "python", "-P", "-c", script)
    assert result.returncode == 0, result.stderr
    weights, schema, template = result.stdout.splitlines()
    assert {"report.html", "report.css", "parts.html", "strangest.html", "classes.html", "moments.css"} <= set(
        template.split()
    )
    assert {"generator.safetensors", "model-card.json"} <= set(weights.split())
    kinds = ("alert", "camera", "drift", "judgement", "tamper")
    assert {f"{kind}.v1.schema.json" for kind in kinds} <= set(schema.split())


def test_a_type_checker_sees_the_types_of_the_installed_packages(installed: Path, tmp_path: Path) -> None:
    """Without ``py.typed`` mypy takes everything that comes from an installed package for ``Any``, or refuses it."""
    (site_packages,) = installed.parent.glob("lib/python*/site-packages")
    packages = ("operators", "pipeline", "models", "deploy")
    assert [name for name in packages if (site_packages / name / "py.typed").is_file()] == list(packages)

    consumer = tmp_path / "consumer.py"
    consumer.write_text(
        "from typing import assert_type\n"
        "from operators.smoothing import delay_seconds\n"
        "assert_type(delay_seconds(5, 16, 25.0), float)\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed / "python"), str(consumer)]
    result = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.realparts
def test_the_whole_path_runs_from_there(installed: Path, foreign_folder: Path, data: Path) -> None:
    """The worker, the export, Triton and the process of its model: none of them imports the foreign packages."""
    film = write_piece(data / "cctv" / "vtest.avi", foreign_folder / "vtest.avi", pictures=116)
    result = _run(installed, foreign_folder, "mistwatch", "watch", str(film), "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    # 10 pictures a second: clips of 16, every 10.
    assert (summary["clips_scored"], summary["clips_dropped"]) == ((116 - 16) // 10 + 1, 0)
    assert list(foreign_folder.glob("runs/*/triton.log"))


@pytest.mark.slow  # a replay and an evaluation; the files that they need are checked above
@pytest.mark.realparts
def test_a_replay_and_the_report_of_an_evaluation_from_there(installed: Path, foreign_folder: Path, data: Path) -> None:
    """Of two pieces of real footage; the report's template and the schema of its scores come with the wheel."""
    for name, pictures in (("vtest.avi", 36), ("car-detection.mp4", 60)):
        write_piece(data / "cctv" / name, foreign_folder / name, pictures)
    replayed = _run(installed, foreign_folder, "mistwatch", "replay", "vtest.avi", "--out", "run", "--json")
    assert replayed.returncode == 0, replayed.stderr
    summary = json.loads(replayed.stdout.splitlines()[-1])
    assert (summary["recordings"], summary["failed"], summary["clips"]) == (1, 0, 3)

    rows = [{"path": "vtest.avi", "label": 0}, {"path": "car-detection.mp4", "label": 1, "intervals": [[0, 8]]}]
    (foreign_folder / "films.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = _run(installed, foreign_folder, "mistwatch", "evaluate", "films.jsonl", "--out", "judged", "--json")
    assert judged.returncode == 0, judged.stderr
    flat = json.loads(judged.stdout.splitlines()[-1])
    assert flat["videos"] == 2
    assert 36 < flat["frames"] <= 36 + 60  # all of the one, and of the other as far as clips at 12.5 a second reach
    report = (foreign_folder / "judged" / "report.html").read_text()
    assert "car-detection.mp4" in report
    assert "data:image/jpeg;base64," in report, "it has pictures of the recordings"


def test_a_command_with_a_bad_argument_ends_with_one_line_and_status_2(installed: Path, foreign_folder: Path) -> None:
    result = _run(installed, foreign_folder, "mistwatch", "config", "check", "nowhere.yaml")
    assert result.returncode == 2
    assert result.stderr.startswith("mistwatch: nowhere.yaml: no such file")
    assert len(result.stderr.splitlines()) == 1
