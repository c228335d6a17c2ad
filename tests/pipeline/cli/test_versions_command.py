"""`mistwatch versions` as a person meets it, beside a Triton that serves the repository."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from in_process import called
from ports import free_port
from triton_of_brightness import Server, until, write_version

from models.serving import versions
from pipeline.cli.repository import let_load
from pipeline.errors import MistwatchError
from pipeline.scoring.served_model import served_model

mistwatch = partial(called, "versions")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Versions 1, 2 and 3 of the tiny model; 3 cannot be loaded. Version 2 is served."""
    folder = tmp_path_factory.mktemp("served")
    server = Server(folder)
    model = server.repository / "clip_scorer"
    broken = write_version(folder / "broken", name="broken")
    (broken / "model.py").write_text("raise RuntimeError('out of luck')")
    versions.add(model, write_version(folder / "better", name="better"))
    versions.add(model, broken)
    versions.roll_back(model)
    server.start()
    yield server
    server.stop()


@pytest.mark.realparts
def test_back_with_one_command_and_forth_with_another(server: Server) -> None:
    assert served_model(server.address).name == "better"
    model = server.repository / "clip_scorer"
    status, said, errors = mistwatch("rollback", server.repository, "--triton", server.address)
    assert (status, errors) == (0, "")
    assert said == f"Triton at {server.address} serves version 1 of clip_scorer\n"
    assert served_model(server.address).name == "mean"
    status, said, errors = mistwatch("rollback", server.repository, "--triton", server.address)
    assert (status, said) == (2, "")
    assert f"{model} serves version 1 and has served no other before (there are: 1, 2, 3)" in errors
    assert errors.count("\n") == 1
    assert mistwatch("use", server.repository, "2", "--triton", server.address)[0] == 0
    assert served_model(server.address).name == "better"


@pytest.mark.realparts
def test_what_cannot_be_loaded_is_not_left_for_the_next_start(server: Server) -> None:
    status, said, errors = mistwatch("use", server.repository, "3", "--triton", server.address)
    assert (status, said) == (1, "")
    assert "out of luck" in errors
    assert errors.endswith(f"; {server.repository / 'clip_scorer'} is back at version 2\n")
    assert errors.count("\n") == 1
    assert served_model(server.address).name == "better"
    assert versions.served(server.repository / "clip_scorer") == 2


@pytest.mark.realparts
def test_a_triton_of_another_repository_is_noticed(server: Server, tmp_path: Path) -> None:
    model = tmp_path / "clip_scorer"
    for number in range(5):
        versions.add(model, write_version(tmp_path / f"draft-{number}"))
    status, _, errors = mistwatch("use", tmp_path, "4", "--triton", server.address)
    assert status == 1
    assert "not its version 4: was it started with another repository?" in errors
    assert errors.endswith(f"; {model} is back at version 5\n")
    assert versions.history(model) == [1, 2, 3, 4, 5]  # as if nobody had asked for the fourth


@pytest.mark.realparts
def test_what_takes_too_long_to_load_is_not_left_for_the_next_start(server: Server, tmp_path: Path) -> None:
    model = server.repository / "clip_scorer"
    slow = write_version(tmp_path / "slow", name="slow")
    (slow / "model.py").write_text("import time\ntime.sleep(4)\nraise RuntimeError('and then it fails')")
    earlier = versions.history(model)
    versions.add(model, slow)
    with pytest.raises(MistwatchError) as failed:
        let_load(model, server.address, earlier, timeout_seconds=1)
    number = versions.versions(model)[-1]
    assert str(failed.value) == (
        f"Triton at {server.address} has not loaded version {number} of clip_scorer in 1 s, and may yet; "
        f"{model} is back at version {earlier[-1]}"
    )
    assert versions.history(model) == earlier
    until(lambda: served_model(server.address).name == "better")


@pytest.mark.realparts
def test_what_triton_dies_of_is_not_left_for_the_next_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "served")
    model = server.repository / "clip_scorer"
    deadly = write_version(tmp_path / "deadly")
    (deadly / "model.py").write_text("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    server.start()
    try:
        earlier = versions.history(model)
        versions.add(model, deadly)
        with pytest.raises(
            MistwatchError, match=r"since it was asked to load version 2 of clip_scorer; .* at version 1$"
        ):
            let_load(model, server.address, earlier)
        assert versions.history(model) == earlier == [1]
        server.start()
        assert served_model(server.address).version == "1"
    finally:
        server.stop()


@pytest.mark.realparts
def test_what_somebody_else_has_chosen_meanwhile_stays(server: Server, tmp_path: Path) -> None:
    """They wait for nobody's loading."""
    model = server.repository / "clip_scorer"
    earlier = versions.history(model)
    broken = write_version(tmp_path / "broken", name="broken")
    loading, chosen = tmp_path / "loading", tmp_path / "chosen"
    (broken / "model.py").write_text(
        f"import time; from pathlib import Path; Path({str(loading)!r}).touch()\n"
        f"while not Path({str(chosen)!r}).exists(): time.sleep(0.05)\n"
        "raise RuntimeError('out of luck')"
    )
    versions.add(model, broken)

    def choose() -> None:
        until(loading.exists)
        versions.serve(model, 1)
        chosen.touch()

    threading.Thread(target=choose).start()
    with pytest.raises(MistwatchError, match=rf"out of luck.*; {model} is back at version 1$"):
        let_load(model, server.address, earlier)
    assert versions.served(model) == 1
    versions.put_back(model, earlier)


def test_a_triton_that_is_away_serves_it_at_its_next_start(tmp_path: Path) -> None:
    for number in (1, 2):
        versions.add(tmp_path / "clip_scorer", write_version(tmp_path / f"draft-{number}"))
    nobody = f"127.0.0.1:{free_port()}"
    status, _, errors = mistwatch("rollback", tmp_path, "--triton", nobody)
    assert status == 1
    assert f"Triton at {nobody} cannot be reached" in errors
    assert errors.endswith("names version 1, for Triton's next start\n")
    assert versions.served(tmp_path / "clip_scorer") == 1


def test_the_list_tells_what_each_version_is(root: Path, tmp_path: Path) -> None:
    for name in ("fights", "courtyard"):
        draft = write_version(tmp_path / f"draft-{name}")
        card = root / "models" / "weights" / name / "model-card.json"
        (draft / "model-card.json").write_text(card.read_text())
        versions.add(tmp_path / "clip_scorer", draft)
    versions.roll_back(tmp_path / "clip_scorer")
    status, said, errors = mistwatch("list", tmp_path)
    assert (status, errors) == (0, "")
    first, second = said.splitlines()
    assert first.startswith("1  served  fights (generator), threshold 0.")
    assert second.startswith("2          courtyard (generator), threshold 0.")


@pytest.mark.parametrize("command", [["list"], ["use", "1"], ["rollback"]])
def test_a_folder_that_is_no_repository(tmp_path: Path, command: list[str]) -> None:
    status, said, errors = mistwatch(command[0], tmp_path, *command[1:])
    assert (status, said) == (2, "")
    assert errors == (f"mistwatch: {tmp_path}: not a repository that `mistwatch export` wrote (no */config.pbtxt)\n")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Versions 1 and 2; 2 is served."""
    for number in (1, 2):
        versions.add(tmp_path / "clip_scorer", write_version(tmp_path / f"draft-{number}"))
    return tmp_path


def bound(how: str, *arguments: object) -> tuple[int, str, str]:
    """`mistwatch versions` in a process that is bound as ``how`` says, after everything is imported."""
    program = (
        "import os, resource, sys, models.card, models.serving.export, models.serving.versions\n"
        "import pipeline.cli.repository, pipeline.cli.versions, pipeline.scoring.served_model\n"
        f"from pipeline.cli.main import main\n{how}\nsys.argv[0] = 'mistwatch'\nsys.exit(main())"
    )
    command = [sys.executable, "-P", "-c", program, "versions", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", [["list"], ["use", "1"], ["rollback"]])
def test_a_repository_that_one_may_not_read(repository: Path, command: list[str]) -> None:
    repository.chmod(0)
    nobody = "os.getuid() or os.setuid(65534)"  # root may read everything
    try:
        status, said, errors = bound(nobody, command[0], repository, *command[1:])
    finally:
        repository.chmod(0o700)
    assert (status, said) == (1, "")
    assert errors.startswith(f"mistwatch: {repository}: cannot be read or written: Permission")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("command", [["use", "1"], ["rollback"]])
def test_a_full_disk(repository: Path, command: list[str]) -> None:
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    status, said, errors = bound(full, command[0], repository, *command[1:])
    assert (status, said) == (1, "")
    assert errors.startswith("mistwatch: ")
    assert "cannot be read or written: File too large" in errors
    assert errors.count("\n") == 1
    assert not list((repository / "clip_scorer").rglob(".*"))
    assert versions.served(repository / "clip_scorer") == 2


@pytest.mark.parametrize("command", [["list"], ["use", "1"], ["rollback"]])
def test_a_configuration_that_is_no_text(repository: Path, command: list[str]) -> None:
    config = repository / "clip_scorer" / "config.pbtxt"
    config.write_bytes(b"\xff\xfe")
    status, said, errors = mistwatch(command[0], repository, *command[1:])
    assert (status, said) == (2, "")
    assert errors.startswith(f"mistwatch: {config}: is not UTF-8: ")
    assert errors.count("\n") == 1


@pytest.fixture
def several(repository: Path, tmp_path: Path) -> Path:
    """The repository with a second served model, ``yard``, of one version."""
    versions.add(repository / "yard", write_version(tmp_path / "draft-yard"))
    return repository


@pytest.mark.parametrize("command", [["use", "1"], ["rollback"]])
def test_several_models_of_which_none_is_chosen(several: Path, command: list[str]) -> None:
    status, said, errors = mistwatch(command[0], several, *command[1:])
    assert (status, said) == (2, "")
    assert errors == (f"mistwatch: {several} holds several models (clip_scorer, yard): choose one with --model\n")
    assert versions.served(several / "clip_scorer") == 2


def test_one_of_several_models(several: Path) -> None:
    status, said, errors = mistwatch("rollback", several, "--model", "clip_scorer")
    assert (status, errors) == (0, "")
    assert said.startswith(f"{several}/clip_scorer: Triton serves version 1 ")
    status, said, errors = mistwatch("use", several, "1", "--model", "garden")
    assert (status, said) == (2, "")
    assert errors == f"mistwatch: {several} has no model 'garden' (it has: clip_scorer, yard)\n"


def test_the_list_of_several_models(several: Path) -> None:
    status, said, errors = mistwatch("list", several)
    assert (status, errors) == (0, "")
    lines = [line.split("  ")[:2] for line in said.splitlines()]
    assert lines == [["clip_scorer:"], ["1", ""], ["2", "served"], ["yard:"], ["1", "served"]]
    assert mistwatch("list", several, "--model", "yard")[1].startswith("1  served  ")
