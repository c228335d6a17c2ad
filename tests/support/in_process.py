"""The command ``mistwatch`` in the test's own process: a process of its own takes seconds to import its libraries."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from pathlib import Path
from unittest import mock

import structlog

from pipeline.cli.main import main


def called(*words: object, folder: Path | None = None) -> tuple[object, str, str]:
    """Run the command with these words; return its status, standard output and standard error.

    Args:
        folder: in which it runs; the test's own by default.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    logging = structlog.get_config()
    status: object = 0
    with (
        mock.patch.object(sys, "argv", ["mistwatch", *map(str, words)]),
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        finally:  # a process that ends does this by itself
            for number, handler in handlers.items():
                signal.signal(number, handler)
            structlog.configure(**logging)
    output, problems = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return status, output, problems
