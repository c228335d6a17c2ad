"""The outbox: what it accepted survives, also a kill -9 of the process that wrote it."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.alerts.outbox import Outbox, OutboxError

#: Accepts events as fast as it can, and says which ones were accepted, each after its commit.
WRITER = """
import json, sys
from pathlib import Path
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]))
document = json.loads(sys.argv[2])
for number in range(int(sys.argv[3]), 10**9):
    document["id"] = f"{document['data']['alert_id']}/{number}"
    document["data"]["sequence"] = number
    outbox.accept(AlertEvent.model_validate(document))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_everything_accepted_survives_the_death_of_the_writer(tmp_path: Path, make_event: Any) -> None:
    path = tmp_path / "outbox.sqlite"
    document = make_event("gate", 1).to_json().decode()
    chance = random.Random(7)
    told: list[int] = []
    for _ in range(6):
        begin = told[-1] + 1 if told else 1
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), document, str(begin)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout is not None
            # So many, and it writes on: any moment will do.
            told += [int(writer.stdout.readline()) for _ in range(chance.randint(1, 60))]
        finally:
            writer.kill()  # SIGKILL
            assert writer.stdout is not None
            with writer.stdout:
                rest = writer.stdout.read()  # communicate() would overlook what readline() has buffered
            writer.wait()
        assert writer.returncode == -signal.SIGKILL
        told += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    outbox = Outbox(path)
    kept = [event.data.sequence for event in outbox.pending(10**6)]
    outbox.close()
    assert len(told) > 60
    # One more may be there for each death: committed, and killed before it could say so.
    assert set(told) <= set(kept)
    assert len(kept) <= len(told) + 6
    assert kept == sorted(kept)


def test_delivered_events_are_gone_for_good_and_the_order_stays(tmp_path: Path, make_event: Any) -> None:
    events = [make_event(camera, number) for number in range(5) for camera in ("gate", "hall")]
    outbox = Outbox(tmp_path / "o")
    for event in events:
        assert outbox.accept(event)
    assert outbox.depth() == 10
    outbox.delivered([events[0].id, events[3].id, "unknown"])
    rest = [event for number, event in enumerate(events) if number not in (0, 3)]
    assert outbox.pending(100) == rest
    assert outbox.pending(2) == rest[:2]
    outbox.close()
    again = Outbox(tmp_path / "o")
    assert again.pending(100) == rest
    again.close()


def test_the_same_id_twice_is_kept_once(tmp_path: Path, make_event: Any) -> None:
    outbox = Outbox(tmp_path / "o")
    event = make_event("gate", 0)
    assert outbox.accept(event) is True
    assert outbox.accept(event.model_copy(update={"source": "/other"})) is False
    assert outbox.pending() == [event]
    outbox.delivered([event.id])
    assert outbox.depth() == 0
    outbox.delivered([event.id])  # a second acknowledgement
    outbox.close()


def test_a_refused_event_is_not_pending_but_stays_with_its_reason(tmp_path: Path, make_event: Any) -> None:
    outbox = Outbox(tmp_path / "o")
    for number in range(2):
        outbox.accept(make_event("gate", number))
    first = outbox.pending()[0]
    outbox.refuse(first.id, "too large")
    assert outbox.depth() == 1
    assert outbox.pending()[0].data.sequence == 1
    outbox.close()
    with sqlite3.connect(tmp_path / "o") as file:
        rows = file.execute("SELECT id, refused FROM events WHERE refused IS NOT NULL").fetchall()
    file.close()
    assert rows == [(first.id, "too large")]


def test_threads_may_accept_and_deliver_at_once(tmp_path: Path, make_event: Any) -> None:
    outbox = Outbox(tmp_path / "o")
    delivered: list[str] = []
    failed: list[BaseException] = []

    def guarded(work: Any) -> Any:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        return run

    def accept(camera: str) -> Any:
        return lambda: [outbox.accept(make_event(camera, number)) for number in range(40)]

    def deliver() -> None:
        while len(delivered) < 160 and not failed:
            ids = [event.id for event in outbox.pending(7)]
            outbox.delivered(ids)
            delivered.extend(ids)

    threads = [threading.Thread(target=guarded(accept(camera))) for camera in "abcd"]
    threads.append(threading.Thread(target=guarded(deliver)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert len(set(delivered)) == len(delivered) == 160
    assert outbox.depth() == 0
    outbox.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    connection = outbox._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    outbox.close()


class TestOneClearLine:
    def check(self, path: Path, expected: str) -> None:
        with pytest.raises(OutboxError, match=expected) as caught:
            Outbox(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_not_an_outbox(self, tmp_path: Path) -> None:
        (tmp_path / "o").write_bytes(b"a text file, longer than a header. " * 100)
        self.check(tmp_path / "o", "is no outbox")

    def test_damaged(self, tmp_path: Path, make_event: Any) -> None:
        outbox = Outbox(tmp_path / "o")
        for number in range(200):
            outbox.accept(make_event("gate", number))
        outbox.close()
        content = bytearray((tmp_path / "o").read_bytes())
        content[4096:] = bytes(len(content) - 4096)
        (tmp_path / "o").write_bytes(content)
        self.check(tmp_path / "o", "is damaged")

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        self.check(tmp_path, "cannot be opened")

    def test_a_file_where_its_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("")
        self.check(tmp_path / "state" / "o", "File exists|Not a directory")

    def test_held_by_another_process(self, tmp_path: Path) -> None:
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys\nfrom pathlib import Path\nfrom pipeline.alerts.outbox import Outbox\n"
                "o = Outbox(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()",
                str(tmp_path / "o"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            self.check(tmp_path / "o", "in use by another process")
        finally:
            holder.kill()
            holder.communicate()
        Outbox(tmp_path / "o").close()  # free again after the holder's death

    def test_written_by_a_newer_version(self, tmp_path: Path) -> None:
        Outbox(tmp_path / "o").close()
        file = sqlite3.connect(tmp_path / "o")
        file.execute("PRAGMA user_version = 99")
        file.close()
        self.check(tmp_path / "o", "layout 99, expected 1")

    def test_a_full_disk(self, tmp_path: Path, make_event: Any) -> None:
        outbox = Outbox(tmp_path / "o")
        pages = outbox._connection.execute("PRAGMA page_count").fetchone()[0]
        outbox._connection.execute(f"PRAGMA max_page_count = {pages}")

        def fill() -> None:
            for number in range(1000):
                outbox.accept(make_event("gate", number))

        with pytest.raises(OutboxError, match="disk is full"):
            fill()
        accepted = outbox.depth()
        assert [event.data.sequence for event in outbox.pending(1000)] == list(range(accepted))
        outbox.close()

    def test_used_after_it_was_closed(self, tmp_path: Path, make_event: Any) -> None:
        outbox = Outbox(tmp_path / "o")
        outbox.close()
        with pytest.raises(OutboxError, match="closed"):
            outbox.accept(make_event("gate", 0))
