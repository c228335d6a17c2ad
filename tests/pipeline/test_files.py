"""Durable files: written in full or not at all, stale drafts removed, one holder of a lock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from pipeline import files
from pipeline.errors import MistwatchError

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline import files
draft = files.draft_path(Path(sys.argv[1]))
draft.mkdir()
(draft / "half").write_text("half")
files.draft_path(Path(sys.argv[1] + ".npz")).write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store" / "video"


def test_what_a_killed_process_left_is_removed(place, root):
    place.parent.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(place)], cwd=root, check=False)
    assert len(list(place.parent.iterdir())) == 2
    place.mkdir()
    files.remove_stale_drafts(place.parent)
    assert list(place.parent.iterdir()) == [place]


def test_what_somebody_is_at_work_on_is_left_alone(place):
    host, mine = socket.gethostname(), files.draft_path(place)
    others = [f"video.{host}.{os.getppid()}-0.tmp", "video.elsewhere.99999999-0.tmp", f"video.{host}.whatever.tmp"]
    left = [*(place.with_name(name) for name in others), mine]
    for draft in left:
        draft.mkdir(parents=True)
    files.remove_stale_drafts(place.parent)
    assert sorted(place.parent.iterdir()) == sorted(left)


def test_a_process_that_had_this_ones_number_is_no_more(place):
    """As in a container, where the first process always has the same one."""
    before = place.with_name(f"video.{socket.gethostname()}.{os.getpid()}-00000000.tmp")
    before.mkdir(parents=True)
    files.remove_stale_drafts(place.parent)
    assert not before.exists()


def test_only_the_drafts_of_the_named_places_are_looked_at(place):
    gone = f"{socket.gethostname()}.99999999-0.tmp"
    for name in ("video", "other"):
        place.with_name(f"{name}.{gone}").mkdir(parents=True)
    files.remove_stale_drafts(place.parent, "video")
    assert [left.name for left in place.parent.iterdir()] == [f"other.{gone}"]


def test_no_folder_no_drafts(tmp_path):
    files.remove_stale_drafts(tmp_path / "none")


@pytest.mark.parametrize(
    ("there", "sound", "left"), [(None, False, "new"), ("old", False, "new"), ("old", True, "old")]
)
def test_a_place_is_taken_unless_something_sound_is_there(place, there, sound, left):
    draft = files.draft_path(place)
    for folder, text in ((draft, "new"), (place, there)):
        if text is not None:
            folder.mkdir(parents=True)
            (folder / "text").write_text(text)
    files.publish_folder(draft, place, lambda: sound)
    assert (place / "text").read_text() == left


def test_a_place_that_cannot_be_taken(place):
    draft = files.draft_path(place)
    draft.mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        files.publish_folder(draft, place.parent / "no such folder" / "video", lambda: False)


class TestReplacing:
    def test_the_file_is_replaced_when_the_block_ends(self, tmp_path):
        file = tmp_path / "settings.json"
        file.write_text("old")
        with files.replacing(file) as draft:
            draft.write_text("new")
            assert file.read_text() == "old"
        assert file.read_text() == "new"
        assert list(tmp_path.iterdir()) == [file]

    def test_a_failure_leaves_the_old_file_and_no_draft(self, tmp_path):
        file = tmp_path / "settings.json"
        file.write_text("old")

        def write_half() -> None:
            with files.replacing(file) as draft:
                draft.write_text("half")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_half()
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]

    def test_a_killed_writer_leaves_the_old_file_and_the_next_one_removes_its_draft(self, tmp_path, root):
        file = tmp_path / "settings.json"
        file.write_text("old")
        program = (
            "import os, signal, sys; from pathlib import Path; from pipeline import files\n"
            "with files.replacing(Path(sys.argv[1])) as draft:\n"
            "    draft.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", program, str(file)], cwd=root, check=False)
        assert file.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 2
        files.write_text(file, "größer")
        assert file.read_bytes() == "größer".encode()
        assert list(tmp_path.iterdir()) == [file]

    def test_a_folder_that_is_not_there_is_an_error_of_the_system(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            files.write_text(tmp_path / "none" / "settings.json", "new")


class TestLock:
    HOLD = (
        "import sys; from pathlib import Path; from pipeline import files\n"
        "with files.locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_one_process_holds_it(self, tmp_path, root, kind):
        path = tmp_path if kind == "folder" else tmp_path / "lock"
        command = [sys.executable, "-c", self.HOLD, str(path)]
        with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(files.LockedError, match="in use by another process"), files.locked(path, wait=False):
                pass
            holder.kill()  # a lock ends with its process
        with files.locked(path, wait=False):
            pass

    def test_its_error_is_one_of_ours(self):
        assert issubclass(files.LockedError, MistwatchError)


def test_an_error_names_the_file_and_not_its_draft(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        files.write_text(tmp_path / "none" / "notes.txt", "text")
    assert error.value.filename == str(tmp_path / "none" / "notes.txt")
