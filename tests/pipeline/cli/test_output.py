"""Terminals whose encoding lacks a character: it is written in ASCII, and no command fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_films import film

from pipeline.cli.output import ascii_json

ENCODINGS = ["latin-1", "ascii", "cp437"]

#: Prints the help of the command and of every command below it, as ``mistwatch … --help`` does, and their number.
EVERY_HELP = """
import sys
import typer
from pipeline.cli import start
from pipeline.cli.main import app
def paths(command, path=()):
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from paths(below, (*path, name))
count = 0
for path in paths(typer.main.get_command(app)):
    sys.argv = ["mistwatch", *path, "--help"]
    try:
        start.main()
    except SystemExit as end:
        assert not end.code, path
    count += 1
print(count)
"""


def run(root, *command, **environment):
    """The ended process; its output is bytes."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=root,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_the_help_of_every_command(root, encoding):
    done = run(root, "-c", EVERY_HELP, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert "Usage: mistwatch alerts tail" in text
    assert int(text.splitlines()[-1]) > 20


@pytest.mark.parametrize(
    "environment",
    [*({"PYTHONIOENCODING": encoding} for encoding in ENCODINGS), {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=lambda environment: next(iter(environment.values())),
)
def test_the_table_of_an_evaluation(root, tmp_path, environment):
    np.savez(tmp_path / "scores.npz", yard=np.array([0.25, 0.75]))
    np.savez(tmp_path / "labels.npz", yard=np.array([0] * 16 + [1] * 16))
    files = ("--scores", tmp_path / "scores.npz", "--labels", tmp_path / "labels.npz", "--draws", "5")
    done = run(root, "-m", "pipeline.cli", "evaluate", *files, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("cp437" if "cp437" in environment.values() else "latin-1")
    assert "1.000-1.000" in text  # an interval, with an en dash on a terminal that has one
    assert "\n- alerts: no thresholds are known" in text


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "監視"), ("ascii", r"\u76e3\u8996"), ("latin-1:replace", "??")]
)
def test_an_error_handler_that_the_user_has_chosen_is_kept(root, encoding, shown):
    command = (
        "import sys; import pipeline.cli.main as module; from pipeline.cli import start; "
        "module.main = lambda: print('監視'); start.main()"
    )
    done = run(root, "-c", command, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout.decode(encoding.partition(":")[0])) == (0, shown + os.linesep)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "監視 – é 🎥.npz"),
        ("latin-1", r"\u76e3\u8996 - é \ud83c\udfa5.npz"),
        ("ascii", r"\u76e3\u8996 - \u00e9 \ud83c\udfa5.npz"),
    ],
)
def test_a_missing_file_is_named_in_every_encoding(root, tmp_path, encoding, shown):
    files = ("--scores", tmp_path / "監視 – é 🎥.npz", "--labels", "labels.npz")
    done = run(root, "-m", "pipeline.cli", "evaluate", *files, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert done.stderr.decode(encoding).splitlines() == [f"mistwatch: {tmp_path}/{shown}: no such file"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_on_standard_output_is_ascii(root, tmp_path, encoding):
    for label in ("normal", "abnormal"):
        film(tmp_path / label / "café 監視 🎥.mp4", 2)
    done = run(root, "-m", "pipeline.cli", "manifest", "folder", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [json.loads(line) for line in done.stdout.decode("ascii").splitlines()]
    assert [row["path"] for row in rows] == [f"{tmp_path}/{label}/café 監視 🎥.mp4" for label in ("normal", "abnormal")]


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_ascii_json_is_the_same_document(document):
    text = ascii_json(json.dumps(document, ensure_ascii=False))
    assert text.isascii()
    assert json.loads(text) == document


def test_ascii_json_keeps_half_a_pair():
    assert ascii_json('"\udce9"') == r'"\udce9"'
