"""A signal that asks a command to end, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys

#: The main thread does nothing but wait for the stop, for no time at all: signals come while it holds the lock.
WAITING = """
import os, signal, threading
from pipeline.cli.live import stopping
for number in range(150):
    with stopping() as stop:
        caller = threading.Timer(0.0002 * (1 + number % 9), os.kill, (os.getpid(), signal.SIGTERM))
        caller.start()
        while not stop.wait(0):
            pass
        caller.join()
    assert stop.signal == signal.SIGTERM
assert threading.active_count() == 1, threading.enumerate()
"""

TWICE = """
import os, signal
from pipeline.cli.live import stopping
with stopping():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("goes on")
"""


def test_a_signal_while_the_stop_is_waited_for_sets_it(root) -> None:
    subprocess.run([sys.executable, "-c", WAITING], cwd=root, check=True, timeout=60)


def test_a_second_signal_ends_the_process_at_once(root) -> None:
    ended = subprocess.run([sys.executable, "-c", TWICE], cwd=root, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "")


BACKGROUND = """
import os, signal
from pipeline.cli.live import stopping
with stopping() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.wait(60)
print("ends in order")
"""


def test_sigint_ends_a_background_job_in_order(root) -> None:
    """A shell without job control starts its background jobs with SIGINT ignored."""
    ended = subprocess.run(
        [sys.executable, "-c", BACKGROUND],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (ended.returncode, ended.stdout) == (0, "ends in order\n")
