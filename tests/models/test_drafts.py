"""Drafts: only what a killed process of this machine has left is removed, and a place is taken by what is whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from models import drafts

KILLED = """
import os, signal, sys
from pathlib import Path
from models import drafts
draft = drafts.draft_of(Path(sys.argv[1]))
draft.mkdir()
(draft / "half").write_text("half")
drafts.draft_of(Path(sys.argv[1] + ".npz")).write_text("half")
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
    drafts.sweep(place.parent)
    assert list(place.parent.iterdir()) == [place]


def test_what_somebody_is_at_work_on_is_left_alone(place):
    host, mine = socket.gethostname(), drafts.draft_of(place)
    others = [f"video.{host}.{os.getppid()}-0.tmp", "video.elsewhere.99999999-0.tmp", f"video.{host}.whatever.tmp"]
    left = [*(place.with_name(name) for name in others), mine]
    for draft in left:
        draft.mkdir(parents=True)
    drafts.sweep(place.parent)
    assert sorted(place.parent.iterdir()) == sorted(left)


def test_a_process_that_had_this_ones_number_is_no_more(place):
    """As in a container, where the first process always has the same one."""
    before = place.with_name(f"video.{socket.gethostname()}.{os.getpid()}-00000000.tmp")
    before.mkdir(parents=True)
    drafts.sweep(place.parent)
    assert not before.exists()


def test_only_the_drafts_of_the_named_places_are_looked_at(place):
    gone = f"{socket.gethostname()}.99999999-0.tmp"
    for name in ("video", "other"):
        place.with_name(f"{name}.{gone}").mkdir(parents=True)
    drafts.sweep(place.parent, "video")
    assert [left.name for left in place.parent.iterdir()] == [f"other.{gone}"]


def test_no_folder_no_drafts(tmp_path):
    drafts.sweep(tmp_path / "none")


@pytest.mark.parametrize(
    ("there", "sound", "left"), [(None, False, "new"), ("old", False, "new"), ("old", True, "old")]
)
def test_a_place_is_taken_unless_something_sound_is_there(place, there, sound, left):
    draft = drafts.draft_of(place)
    for folder, text in ((draft, "new"), (place, there)):
        if text is not None:
            folder.mkdir(parents=True)
            (folder / "text").write_text(text)
    drafts.take_place(draft, place, lambda: sound)
    assert (place / "text").read_text() == left


def test_a_place_that_cannot_be_taken(place):
    draft = drafts.draft_of(place)
    draft.mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        drafts.take_place(draft, place.parent / "no such folder" / "video", lambda: False)
