"""Ctrl-C at any moment, in processes of their own: the status 130, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

#: Prints a line when its handler is about to be set, then is ``mistwatch`` with the arguments.
COMMAND = "from pipeline.cli import start; print('started', flush=True); start.main()"

#: Is ``mistwatch`` with the arguments after the first two, a module and a signal that comes as that one is imported.
INTERRUPTED_IMPORT = """
import signal, sys
from pipeline.cli import start
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            signal.raise_signal(number)
module, number = sys.argv.pop(1), int(sys.argv.pop(1))
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
sys.meta_path.insert(0, Interrupting())
start.main()
"""

#: Runs the function ``command`` in place of the command.
STAND_IN = """
import signal, sys, time
import pipeline.cli.main
from pipeline.cli import start
{command}
pipeline.cli.main.main = command
start.main()
"""


@pytest.fixture
def endless(tmp_path):
    """Arguments of a command that runs for minutes and prints only at its end."""
    np.savez(tmp_path / "scores.npz", yard=np.linspace(0, 1, 4000))
    np.savez(tmp_path / "labels.npz", yard=np.arange(4000) % 2)
    files = ["--scores", str(tmp_path / "scores.npz"), "--labels", str(tmp_path / "labels.npz")]
    return ["evaluate", *files, "--frames-per-score", "1", "--draws", "1000000"]


@pytest.fixture
def python(root):
    def run(code, *arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True, timeout=30
        )

    return run


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6])
def test_ctrl_c_so_long_after_the_start(root, endless, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *endless], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "started\n"
        time.sleep(seconds)  # the moment is the subject
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, *output) == (130, "", "")


@pytest.mark.parametrize(
    "module",
    ["pipeline.cli.main", "typer", "pipeline.cli.evaluate", "pipeline.evaluation.assessment", "numpy.linalg"],
)
def test_ctrl_c_during_an_import(python, endless, module):
    ended = python(INTERRUPTED_IMPORT, module, str(int(signal.SIGINT)), *endless)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


TAIL = "alerts tail --bootstrap 127.0.0.1:1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("typer", TAIL),  # before the command itself
        ("kafka", TAIL),  # in the command
        ("pipeline.settings", "run --config site.yaml"),
        ("pipeline.cli.watch", "watch gate=rtsp://127.0.0.1:1/"),
        ("deploy.triton.server", "serve"),
    ],
)
def test_a_command_that_runs_until_it_is_stopped_succeeds_also_when_that_comes_during_an_import(
    python, module, command, number
):
    ended = python(INTERRUPTED_IMPORT, module, str(int(number)), *command.split())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_one_that_is_limited_does_not(python):
    ended = python(INTERRUPTED_IMPORT, "kafka", str(int(signal.SIGTERM)), *TAIL.split(), "--count", "1")
    assert (ended.returncode, ended.stderr) == (1, "mistwatch: interrupted after 0 of 1 events\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_finalizer_swallows_ends_an_idle_tail(python, number):
    code = """
import signal, sys, time
from types import SimpleNamespace
from pipeline.cli import start
from pipeline.sinks import tail
number, calls = int(sys.argv.pop(1)), []
class Finalized:
    def __del__(self):
        signal.raise_signal(number)
def sleep(seconds):
    calls.append(seconds)
    if len(calls) == 1:
        Finalized()  # Python discards what the handler raises
    time.sleep(seconds)
tail.time = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
start.main()
"""
    ended = python(code, str(int(number)), *TAIL.split())  # which never ends by itself
    assert (ended.returncode, ended.stdout) == (0, "")
    [line] = ended.stderr.splitlines()
    assert "waiting" in line


def test_a_signal_that_a_finalizer_swallows_ends_serve(python):
    code = """
import signal
import deploy.triton.server
from pipeline.cli import start
class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
class Server:
    grpc_address = http_address = metrics_address = "127.0.0.1:1"
    def __init__(self, *_arguments, **_options): pass
    def __enter__(self):
        Finalized()  # Python discards what the handler raises
        return self
    def __exit__(self, *_error): pass
    def alive(self): return True
deploy.triton.server.TritonServer = Server
start.main()
"""
    ended = python(code, "serve", "--repository", "any")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("stopped\n")


def test_an_interrupt_that_a_finalizer_swallows_comes_again(python):
    command = """
class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def command():
    Finalized()
    time.sleep(60)
"""
    ended = python(STAND_IN.format(command=command))  # which waits for less
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_error_that_comes_of_an_interrupt_is_not_reported(python):
    command = """
def command():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed")
"""
    ended = python(STAND_IN.format(command=command))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_error_without_an_interrupt_is_a_bug_and_reported(python):
    ended = python(STAND_IN.format(command="def command(): raise ValueError('of the code')"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.endswith("ValueError: of the code\n")


def test_sigint_ends_a_background_job_too(python):
    """A shell without job control starts its background jobs with SIGINT ignored."""
    command = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
def command():
    signal.raise_signal(signal.SIGINT)
    print("goes on")
"""
    ended = python(STAND_IN.format(command=command))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
