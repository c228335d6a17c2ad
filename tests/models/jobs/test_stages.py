"""Stages: what is done again and what is not, and that nothing half-written is ever taken for done."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.jobs.errors import StageError
from models.jobs.stages import SCRATCH, STAGE_FILE, Stages, completed, digest_of, put_back


class Counted:
    """A stage's work: writes a text, and counts how often it was asked."""

    def __init__(self, text="result"):
        self.text = text
        self.calls = 0

    def __call__(self, draft: Path) -> None:
        self.calls += 1
        (draft / "part").mkdir(exist_ok=True)
        (draft / "part" / "result.txt").write_text(self.text)


def test_a_stage_whose_inputs_are_the_same_is_not_run_again(tmp_path):
    work, reports = Counted(), []
    first = Stages(tmp_path, report=reports.append).run("one", {"a": 1, "b": 2}, work)
    second = Stages(tmp_path, report=reports.append).run("one", {"b": 2, "a": 1}, work)
    assert work.calls == 1
    assert (first.fresh, second.fresh) == (True, False)
    assert first.digest == second.digest
    assert reports == ["one: runs", "one: unchanged"]
    assert (tmp_path / "one" / "part" / "result.txt").read_text() == "result"


def test_other_inputs_run_it_again_and_replace_it(tmp_path):
    stages = Stages(tmp_path)
    first = stages.run("one", {"a": 1}, Counted())
    other = Counted("other")
    second = stages.run("one", {"a": 2}, other)
    assert other.calls == 1
    assert first.digest != second.digest
    assert (tmp_path / "one" / "part" / "result.txt").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_the_same_result_from_other_inputs_stops_there(tmp_path):
    stages = Stages(tmp_path)
    following = Counted()
    for seed in (1, 2):
        upstream = stages.run("up", {"seed": seed}, Counted())
        assert upstream.fresh
        stages.run("down", {"up": upstream.digest}, following)
    assert following.calls == 1


@pytest.mark.parametrize("harm", ["changed", "missing", "extra", "half a stage file"])
def test_what_is_damaged_is_made_again(tmp_path, harm):
    work = Counted()
    Stages(tmp_path).run("one", {}, work)
    result = tmp_path / "one" / "part" / "result.txt"
    stage_file = tmp_path / "one" / STAGE_FILE
    match harm:
        case "changed":
            result.write_text("resulT")
        case "missing":
            result.unlink()
        case "extra":
            (tmp_path / "one" / "extra.txt").write_text("")
        case "half a stage file":
            stage_file.write_text(stage_file.read_text()[:40])
    done = Stages(tmp_path).run("one", {}, work)
    assert (work.calls, done.fresh) == (2, True)
    assert result.read_text() == "result"
    assert not (tmp_path / "one" / "extra.txt").exists()


def test_a_completed_stage_is_found_without_its_inputs(tmp_path):
    done = Stages(tmp_path).run("one", {"a": 1}, Counted())
    assert completed(done.folder) == done.digest
    (done.folder / "part" / "result.txt").write_text("resulT")
    assert completed(done.folder) is None
    assert completed(tmp_path / "two") is None


def test_a_folder_that_no_stage_has_written_is_not_replaced(tmp_path):
    """As of ``--out .`` in a project that has a folder of a stage's name."""
    own = tmp_path / "one" / "notes.txt"
    own.parent.mkdir()
    own.write_text("of the user")
    work = Counted()
    with pytest.raises(StageError, match=r"one: would be replaced, and no stage has written it"):
        Stages(tmp_path).run("one", {}, work)
    assert work.calls == 0
    assert own.read_text() == "of the user"


def test_scratch_is_no_result(tmp_path):
    def work(draft: Path) -> None:
        (draft / "result.txt").write_text("result")
        (draft / SCRATCH).mkdir()
        (draft / SCRATCH / "log").write_text("log")

    first = Stages(tmp_path).run("one", {}, work)
    (tmp_path / "one" / SCRATCH / "log").write_text("another log")
    second = Stages(tmp_path).run("one", {}, work)
    assert not second.fresh
    assert first.digest == second.digest
    shutil.rmtree(tmp_path / "one" / SCRATCH)
    assert not Stages(tmp_path).run("one", {}, work).fresh


def test_a_failed_stage_leaves_the_old_one_and_its_draft_is_resumed(tmp_path):
    Stages(tmp_path).run("one", {"a": 1}, Counted("old"))

    def fails(draft: Path) -> None:
        (draft / SCRATCH).mkdir()
        (draft / SCRATCH / "step").write_text("1")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        Stages(tmp_path).run("one", {"a": 2}, fails)
    assert (tmp_path / "one" / "part" / "result.txt").read_text() == "old"
    assert not Stages(tmp_path).run("one", {"a": 1}, Counted()).fresh

    reports = []

    def resumes(draft: Path) -> None:
        assert (draft / SCRATCH / "step").read_text() == "1"

    Stages(tmp_path, report=reports.append).run("one", {"a": 2}, resumes)
    assert reports == ["one: resumes"]
    assert (tmp_path / "one" / SCRATCH / "step").read_text() == "1"


def test_a_stopped_stage_without_a_checkpoint_says_that_it_runs_again(tmp_path):
    def fails(draft: Path) -> None:
        (draft / "half").write_text("1")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        Stages(tmp_path).run("one", {}, fails)
    reports = []
    Stages(tmp_path, report=reports.append).run("one", {}, Counted())
    assert reports == ["one: was stopped, runs again"]


@pytest.mark.parametrize("place", ["run", "run/below"])
def test_a_file_in_the_place_of_the_runs_folder_is_one_line(tmp_path, place):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(StageError, match=rf"^{tmp_path}/run: not a folder; expected one for the run, or a new name$"),
        Stages(tmp_path / place).alone(),
    ):
        pass


def test_a_draft_of_other_inputs_is_not_gone_on_from(tmp_path):
    def fails(draft: Path) -> None:
        (draft / "step").write_text("1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Stages(tmp_path).run("one", {"a": 1}, fails)
    Stages(tmp_path).run("one", {"a": 2}, lambda draft: (draft / "fresh").write_text(str(list(draft.iterdir()))))
    assert (tmp_path / "one" / "fresh").read_text() == "[]"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_killed_between_its_last_two_steps_it_is_not_run_again(tmp_path):
    work = Counted()
    done = Stages(tmp_path).run("one", {"a": 1}, work)
    key = json.loads((tmp_path / "one" / STAGE_FILE).read_text())["key"]
    (tmp_path / "one").rename(tmp_path / f".one.{key[:16]}")  # as the kill leaves it
    again = Stages(tmp_path).run("one", {"a": 1}, work)
    assert work.calls == 1
    assert again.digest == done.digest
    assert (tmp_path / "one" / "part" / "result.txt").exists()


def test_killed_while_it_is_replaced_the_old_result_can_be_put_back(tmp_path, monkeypatch):
    """Until the stage is run again, which finds the new one complete."""
    Stages(tmp_path).run("one", {"a": 1}, Counted("old"))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == tmp_path / "one":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            Stages(tmp_path).run("one", {"a": 2}, Counted("new"))
    put_back(tmp_path / "one")
    assert (tmp_path / "one" / "part" / "result.txt").read_text() == "old"
    again = Counted("new")
    Stages(tmp_path).run("one", {"a": 2}, again)
    assert again.calls == 0
    assert (tmp_path / "one" / "part" / "result.txt").read_text() == "new"
    put_back(tmp_path / "one")  # there is nothing to put back
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_one_stage_alone(tmp_path):
    with pytest.raises(StageError, match=r"the stage one has not been run on these inputs.*--stage one"):
        Stages(tmp_path, only="two").run("one", {}, Counted())
    Stages(tmp_path, only="one").run("one", {}, Counted())
    stages = Stages(tmp_path, only="two")
    assert not stages.run("one", {}, Counted()).fresh
    assert stages.run("two", {}, Counted()).fresh


def test_two_jobs_in_one_folder(tmp_path):
    with Stages(tmp_path / "run").alone():
        with pytest.raises(StageError, match="another process is writing there"), Stages(tmp_path / "run").alone():
            pass
        with Stages(tmp_path / "run", rank=1).alone():  # another process of the same job
            pass
    with Stages(tmp_path / "run").alone():
        pass


def test_the_other_processes_wait_for_the_first(tmp_path):
    begin, results = threading.Event(), []

    def forbidden(_draft: Path) -> None:
        raise AssertionError("only the first process works here")

    def other() -> None:
        begin.set()
        results.append(Stages(tmp_path, rank=1).run("one", {}, forbidden))

    thread = threading.Thread(target=other)
    thread.start()
    assert begin.wait(10)
    first = Stages(tmp_path, rank=0).run("one", {}, Counted())
    thread.join(30)
    assert [done.digest for done in results] == [first.digest]


def test_all_processes_work_where_a_stage_says_so(tmp_path):
    barrier = threading.Barrier(2, timeout=30)

    def work(draft: Path) -> None:
        if barrier.wait() == 0:
            draft.mkdir(parents=True, exist_ok=True)
            (draft / "result.txt").write_text("both")
        barrier.wait()

    results = {}

    def process(rank: int) -> None:
        results[rank] = Stages(tmp_path, rank=rank).run("one", {}, work, together=True)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results[0].digest == results[1].digest


def test_nobody_works_on_what_was_killed_between_its_last_two_steps(tmp_path):
    """Started again under torchrun: the first process only gives the draft its name, whoever comes first."""
    first = Stages(tmp_path).run("one", {}, Counted())
    key = json.loads((tmp_path / "one" / STAGE_FILE).read_text())["key"]
    (tmp_path / "one").rename(tmp_path / f".one.{key[:16]}")  # as the kill leaves it

    def forbidden(_draft: Path) -> None:
        raise AssertionError("there is nothing to do")

    results = []
    other = threading.Thread(
        target=lambda: results.append(Stages(tmp_path, rank=1).run("one", {}, forbidden, together=True))
    )
    other.start()
    other.join(1)  # long enough to have begun the work, had it not looked
    results.append(Stages(tmp_path, rank=0).run("one", {}, forbidden, together=True))
    other.join(30)
    assert [done.digest for done in results] == [first.digest] * 2


_ENDLESS = """
    import sys, time
    from pathlib import Path
    from models.jobs.stages import Stages

    def work(draft):
        (draft / "half.txt").write_text("half")
        print("working", flush=True)
        time.sleep(600)

    Stages(Path(sys.argv[1])).run("one", {}, work)
"""


def test_sigkill_leaves_nothing_as_good(tmp_path, root):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_ENDLESS), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    try:
        assert process.stdout.readline() == "working\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process.stdout.close()
    assert not (tmp_path / "one").exists()
    work = Counted()
    Stages(tmp_path).run("one", {}, work)
    assert work.calls == 1


@given(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.none(), max_size=5))
def test_a_digest_is_of_what_a_mapping_says_not_of_its_order(mapping):
    assert digest_of(mapping) == digest_of(dict(reversed(mapping.items())))
    assert digest_of(mapping) != digest_of(mapping | {"one more": 1})
