"""Forks ``mistwatch run`` from a process that has imported everything: a worker starts in 0.3 s in place of 3.

Commands are JSON lines on standard input, answered by a line each: ``{"config": FILE, "ledger": FILE, "ready": FILE,
"log": FILE}`` forks a worker and answers its process id; ``{"wait": PID}`` answers its status. The worker writes
``CAMERA ID`` to the ledger after each event that its outbox has accepted, and its process id to the file ``ready`` once
SIGTERM ends it in order. A worker ends with this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tritonclient.grpc  # noqa: F401  # the imports of the product's own functions, before the fork
from accepted_ledger import keep_ledger
from blinking_camera import SCHEME, BlinkingCamera
from kafka import KafkaAdminClient, KafkaProducer  # noqa: F401

import pipeline.live.service  # noqa: F401
from deploy.lifetime import end_with_parent
from pipeline import logs
from pipeline.cli.live import display_for, drive, stopping
from pipeline.errors import MistwatchError
from pipeline.settings import load_site
from pipeline.sources import factory


def offer_blinking_cameras(config: Path) -> None:
    """Make the tests' own kind of source known; no other process knows it, so the worker itself has to decode."""
    factory.SOURCES["blink"] = lambda camera, location, _options, _callbacks: BlinkingCamera(camera, location)
    if SCHEME in config.read_text():
        os.environ["MISTWATCH_DECODING"] = "threads"


def work(command: dict[str, Any]) -> int:
    """``mistwatch run --json``; returns its exit status."""
    os.setsid()
    log = os.open(command["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(0)
    keep_ledger(Path(command["ledger"]))
    try:
        offer_blinking_cameras(Path(command["config"]))
        site = load_site(Path(command["config"]))
        logs.configure(site.log.format, site.log.level)
        with stopping() as stop:
            Path(command["ready"]).write_text(str(os.getpid()))
            run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            display = display_for(as_json=True, stop=stop)
            drive(site, stop=stop, display=display, run=run, await_servers=True, await_cameras=True)
    except MistwatchError as error:
        print(f"mistwatch: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def main() -> None:
    """Obey until standard input ends."""
    assert threading.active_count() == 1, "a forked thread is gone in the child"
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            print(os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            end_with_parent()
            status = 70
            try:
                status = work(command)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(child, flush=True)


if __name__ == "__main__":
    main()
