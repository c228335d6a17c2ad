"""Versions side by side: which is served, what was before, and what a crash or an older repository leaves."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from models.serving.versions import VersionError, add, before, history, put_back, roll_back, serve, served, versions

CONFIG = 'name: "clip_scorer"\nbackend: "python"\nparameters {{ key: "name" value {{ string_value: "{name}" }} }}\n'


def draft(repository: Path, name: str) -> Path:
    """A version that is ready to be added."""
    folder = repository / f".draft-{name}"
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG.format(name=name))
    (folder / "model-card.json").write_text(f'{{"name": "{name}"}}')
    (folder / "model.py").write_text("")
    return folder


def told(model: Path) -> tuple[str, list[int]]:
    """The model's name and versions, as Triton's own message reads its configuration."""
    config = text_format.Parse((model / "config.pbtxt").read_text(), pb.ModelConfig())
    return config.parameters["name"].string_value, list(config.version_policy.specific.versions)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Versions 1, 2 and 3, one after the other; 3 is served."""
    model = tmp_path / "repository" / "clip_scorer"
    for number in (1, 2, 3):
        assert add(model, draft(model.parent, f"n{number}")) == number
    return model


def test_the_newest_is_served_with_its_own_configuration_and_card(model: Path) -> None:
    assert versions(model) == [1, 2, 3]
    assert served(model) == 3
    assert told(model) == ("n3", [3])
    assert (model / "model-card.json").read_text() == '{"name": "n3"}'
    assert (model / "1" / "model.py").exists()
    assert [entry.name for entry in model.parent.iterdir()] == ["clip_scorer"]  # no draft is left


def test_back_step_by_step(model: Path) -> None:
    assert roll_back(model) == 2
    assert told(model) == ("n2", [2])
    assert (model / "model-card.json").read_text() == '{"name": "n2"}'
    assert roll_back(model) == 1
    with pytest.raises(VersionError, match=r"serves version 1 and has served no other before \(there are: 1, 2, 3\)"):
        roll_back(model)
    assert told(model) == ("n1", [1])


def test_back_goes_to_what_was_served_and_not_to_what_was_taken_back(model: Path) -> None:
    roll_back(model)  # 3 was no good
    assert add(model, draft(model.parent, "n4")) == 4  # a number is used once
    assert before(model) == [1, 2]
    assert roll_back(model) == 2


def test_a_version_that_is_gone_is_passed_over(model: Path) -> None:
    for file in (model / "2").iterdir():
        file.unlink()
    (model / "2").rmdir()
    assert roll_back(model) == 1


def test_forth_again(model: Path) -> None:
    roll_back(model)
    serve(model, 3)
    assert (served(model), before(model)) == (3, [1, 2])


def test_a_version_that_there_is_not(model: Path) -> None:
    with pytest.raises(VersionError, match=r"clip_scorer has no version 7 \(there are: 1, 2, 3\)"):
        serve(model, 7)
    assert served(model) == 3


def test_what_was_changed_by_hand_stays_with_its_version(model: Path) -> None:
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace("n3", "tuned"))
    roll_back(model)
    assert told(model) == ("n2", [2])
    serve(model, 3)
    assert told(model) == ("tuned", [3])


def test_a_policy_by_hand_is_refused_rather_than_doubled(model: Path) -> None:
    config = model / "config.pbtxt"
    by_hand = config.read_text().replace("specific { versions: [ 3 ] }", "all { }")
    config.write_text(by_hand)
    with pytest.raises(VersionError, match="take the version_policy out"):
        serve(model, 1)
    assert config.read_text() == by_hand


def test_a_repository_of_an_earlier_mistwatch_goes_on(tmp_path: Path) -> None:
    """It has one version, whose configuration and card lie beside it and name no version."""
    model = tmp_path / "clip_scorer"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG.format(name="old"))
    (model / "model-card.json").write_text('{"name": "old"}')
    assert served(model) == 1
    assert add(model, draft(tmp_path, "new")) == 2
    assert told(model) == ("new", [2])
    assert roll_back(model) == 1
    assert told(model) == ("old", [1])
    assert (model / "model-card.json").read_text() == '{"name": "old"}'


def test_replace_removes_the_others_and_counts_on(model: Path) -> None:
    assert add(model, draft(model.parent, "other"), replace=True) == 4
    assert (versions(model), before(model)) == ([4], [])
    assert told(model) == ("other", [4])
    assert [entry.name for entry in model.parent.iterdir()] == ["clip_scorer"]


def test_a_number_is_not_used_again_after_its_folder_was_removed_by_hand(model: Path) -> None:
    roll_back(model)
    shutil.rmtree(model / "3")
    assert add(model, draft(model.parent, "n4")) == 4
    serve(model, 1)
    shutil.rmtree(model / "4")
    shutil.rmtree(model / "2")
    assert add(model, draft(model.parent, "other"), replace=True) == 5
    assert add(model, draft(model.parent, "n6")) == 6
    assert versions(model) == [5, 6]
    assert (model / "config.pbtxt").read_text().count("Highest number ever used") == 1
    assert "Highest" not in (model / "5" / "config.pbtxt").read_text()  # of the repository, not of the version


def test_a_replacement_killed_while_the_old_model_is_removed_is_whole(model: Path) -> None:
    program = (
        "import os, shutil, signal, sys; from pathlib import Path; from models.serving import versions\n"
        "def half(folder, **_):\n"
        "    for file in [*Path(folder).glob('config.pbtxt'), *Path(folder).glob('1/*')]: file.unlink()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "shutil.rmtree = half\n"
        "versions.add(Path(sys.argv[1]), Path(sys.argv[2]), replace=True)"
    )
    command = [sys.executable, "-c", program, str(model), str(draft(model.parent, "other"))]
    assert subprocess.run(command, check=False).returncode == -9
    assert (versions(model), told(model)) == ([4], ("other", [4]))


@pytest.mark.parametrize(("replace", "there"), [(False, [1, 2, 3, 4]), (True, [4])])
def test_a_replacement_killed_before_the_new_model_has_its_name_loses_nothing(
    model: Path, replace: bool, there: list[int]
) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from models.serving import versions\n"
        "rename = Path.rename\n"
        "def killed(self, target):\n"
        "    if target == Path(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return rename(self, target)\n"
        "Path.rename = killed\n"
        "versions.add(Path(sys.argv[1]), Path(sys.argv[2]), replace=True)"
    )
    command = [sys.executable, "-c", program, str(model), str(draft(model.parent, "other"))]
    assert subprocess.run(command, check=False).returncode == -9
    assert not model.exists()
    assert add(model, draft(model.parent, "n4"), replace=replace) == 4
    assert (versions(model), told(model)) == (there, ("n4", [4]))
    assert before(model) == there[:-1]


def test_a_replacement_that_cannot_take_the_place_gives_it_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def full_disk(self: Path, target: Path) -> Path:
        if target == model and (self / "4").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(OSError, match="No space left"):
        add(model, draft(model.parent, "other"), replace=True)
    assert (versions(model), told(model)) == ([1, 2, 3], ("n3", [3]))
    assert [entry.name for entry in model.parent.iterdir()] == ["clip_scorer"]


def test_a_full_disk_leaves_no_draft(model: Path) -> None:
    """No file may grow: that is how the disk is full for this process alone."""
    program = (
        "import resource, sys; from pathlib import Path; from models.serving import versions\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try: versions.roll_back(Path(sys.argv[1]))\n"
        "except OSError: sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(model)], check=False).returncode == 7
    assert not list(model.rglob(".*"))
    assert told(model) == ("n3", [3])


@pytest.mark.parametrize("file", ["config.pbtxt", "2/config.pbtxt", "2/model-card.json"])
def test_what_is_not_utf_8_is_named(model: Path, file: str) -> None:
    (model / file).write_bytes(b"\xff\xfe")
    with pytest.raises(VersionError, match=f"{model / file}: is not UTF-8"):
        roll_back(model)


def test_a_repository_whose_configuration_cannot_be_read_can_be_replaced(model: Path) -> None:
    (model / "config.pbtxt").write_bytes(b"\xff\xfe")
    assert add(model, draft(model.parent, "other"), replace=True) == 4
    assert told(model) == ("other", [4])


def test_a_killed_export_leaves_the_served_version_served(model: Path) -> None:
    """Killed between the version's arrival and the switch to it: the version is there, and nobody serves it."""
    program = (
        "import os, signal, sys; from pathlib import Path; from models.serving import versions;"
        "serve = versions.serve;"
        "versions.serve = lambda model, n: serve(model, n) if n < 4 else os.kill(os.getpid(), signal.SIGKILL);"
        "versions.add(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(model), str(draft(model.parent, "n4"))]
    assert subprocess.run(command, check=False).returncode == -9
    assert versions(model) == [1, 2, 3, 4]
    assert told(model) == ("n3", [3])
    assert add(model, draft(model.parent, "n5")) == 5
    assert roll_back(model) == 3


@given(st.lists(st.sampled_from(["add", "back", "use", "use in vain"]), max_size=12), st.randoms(use_true_random=False))
def test_whatever_is_done_one_version_is_served_and_each_step_back_leads_to_an_older_choice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], random: object
) -> None:
    """Against a list that is kept beside it: the choices that a rollback may return to."""
    model = tmp_path_factory.mktemp("versions") / "clip_scorer"
    add(model, draft(model.parent, "n1"))
    choices = [1]
    newest = 1
    for step in steps:
        if step == "add":
            newest += 1
            add(model, draft(model.parent, f"n{newest}"))
            choices.append(newest)
        elif step == "back" and len(choices) > 1:
            choices.pop()
            assert roll_back(model) == choices[-1]
        elif step == "use":
            number = random.randint(1, newest)  # type: ignore[attr-defined]
            serve(model, number)
            choices = [*choices[: choices.index(number)], number] if number in choices else [*choices, number]
        elif step == "use in vain":
            earlier = history(model)
            serve(model, random.randint(1, newest))  # type: ignore[attr-defined]
            put_back(model, earlier)
        assert told(model) == (f"n{choices[-1]}", [choices[-1]])
        assert [*before(model), served(model)] == choices
