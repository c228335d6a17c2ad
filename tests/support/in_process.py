"""The command ``mistwatch`` in the test's own process."""

from __future__ import annotations

import sys

import pytest

from pipeline.cli.main import main


def called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[object, str, str]:
    """Run the command with these words; return its status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["mistwatch", *map(str, words)])
    status: object = 0
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
    printed = capsys.readouterr()
    return status, printed.out, printed.err
