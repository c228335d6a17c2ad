"""The outbox: accepted events survive, also a SIGKILL of the process that wrote them, until every sink has them."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox, OutboxError

#: Accepts events as fast as it can, and prints the number of each after its commit.
WRITER = """
import json, sys
from pathlib import Path
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]), ["kafka"])
document = json.loads(sys.argv[2])
for number in range(int(sys.argv[3]), 10**9):
    document["id"] = f"{document['data']['alert_id']}/{number}"
    document["data"]["sequence"] = number
    outbox.accept(AlertEvent.model_validate(document))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


SINK = "kafka"


def one_sink(path: Path) -> Outbox:
    return Outbox(path, [SINK])


def test_everything_accepted_survives_the_death_of_the_writer(tmp_path: Path, make_event: Any) -> None:
    path = tmp_path / "outbox.sqlite"
    document = make_event("gate", 1).to_json().decode()
    chance = random.Random(7)
    printed: list[int] = []
    for _ in range(6):
        begin = printed[-1] + 1 if printed else 1
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), document, str(begin)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout is not None
            # It goes on writing meanwhile: any moment will do.
            printed += [int(writer.stdout.readline()) for _ in range(chance.randint(1, 60))]
        finally:
            writer.kill()  # SIGKILL
            assert writer.stdout is not None
            with writer.stdout:
                rest = writer.stdout.read()  # communicate() would overlook what readline() has buffered
            writer.wait()
        assert writer.returncode == -signal.SIGKILL
        printed += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    outbox = one_sink(path)
    kept = [event.data.sequence for event in outbox.deliveries(SINK).pending(10**6)]
    outbox.close()
    assert len(printed) > 60
    # One more may be there for each death: committed, and killed before it could print the number.
    assert set(printed) <= set(kept)
    assert len(kept) <= len(printed) + 6
    assert kept == sorted(kept)


def test_delivered_events_are_gone_for_good_and_the_order_stays(tmp_path: Path, make_event: Any) -> None:
    events = [make_event(camera, number) for number in range(5) for camera in ("gate", "hall")]
    outbox = one_sink(tmp_path / "o")
    for event in events:
        assert outbox.accept(event)
    assert outbox.depth() == 10
    outbox.deliveries(SINK).delivered([events[0].id, events[3].id, "unknown"])
    rest = [event for number, event in enumerate(events) if number not in (0, 3)]
    assert outbox.deliveries(SINK).pending(100) == rest
    assert outbox.deliveries(SINK).pending(2) == rest[:2]
    outbox.close()
    again = one_sink(tmp_path / "o")
    assert again.deliveries(SINK).pending(100) == rest
    again.close()


def test_the_same_id_twice_is_kept_once(tmp_path: Path, make_event: Any) -> None:
    outbox = one_sink(tmp_path / "o")
    event = make_event("gate", 0)
    assert outbox.accept(event) is True
    assert outbox.accept(event.model_copy(update={"source": "/other"})) is False
    assert outbox.deliveries(SINK).pending() == [event]
    outbox.deliveries(SINK).delivered([event.id])
    assert outbox.depth() == 0
    outbox.deliveries(SINK).delivered([event.id])  # a second acknowledgement
    outbox.close()


def test_a_refused_event_is_not_pending_but_stays_with_its_reason(tmp_path: Path, make_event: Any) -> None:
    outbox = one_sink(tmp_path / "o")
    for number in range(2):
        outbox.accept(make_event("gate", number))
    first = outbox.deliveries(SINK).pending()[0]
    outbox.deliveries(SINK).set_aside(first.id, "too large")
    assert outbox.depth() == 1
    assert outbox.deliveries(SINK).pending()[0].data.sequence == 1
    outbox.close()
    with sqlite3.connect(tmp_path / "o") as file:
        rows = file.execute(
            "SELECT id, refused FROM events JOIN deliveries USING (position) WHERE refused IS NOT NULL"
        ).fetchall()
    file.close()
    assert rows == [(first.id, "too large")]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"document": b'{"type":"mistwatch.weather"}'}, "unknown type 'mistwatch.weather'"),
        ({"document": b"{}"}, "without a type"),
        ({"document": b'{"type":"mistwatch.alert.be'}, "Invalid JSON"),
        ({"document": b"\xff\xfe"}, "Invalid JSON"),
        ({"id": b"\xff/0"}, "its id is "),  # also not text
    ],
)
def test_an_event_that_cannot_be_read_is_set_aside_for_each_sink(
    tmp_path: Path, make_event: Any, changed: dict[str, bytes], reason: str
) -> None:
    events = [make_event("gate", number) for number in range(3)]
    with closing(Outbox(tmp_path / "o", ["near", "far"])) as outbox:
        for event in events:
            outbox.accept(event)
    change(tmp_path / "o", events[1].id, **changed)
    identity = changed["id"].decode(errors="replace") if "id" in changed else events[1].id
    with closing(Outbox(tmp_path / "o", ["near", "far"])) as outbox:
        for name in ("near", "far"):
            reported: list[tuple[str, str]] = []
            deliveries = outbox.deliveries(name)
            assert deliveries.pending(on_unreadable=lambda *one, seen=reported: seen.append(one)) == events[::2]
            assert [one for one, _ in reported] == [identity]
            assert reported[0][1].startswith(f"this version of mistwatch cannot read it: {reason}")
            assert deliveries.depth() == 2
            assert deliveries.pending(on_unreadable=lambda *one: pytest.fail(str(one))) == events[::2]
        assert outbox.depth() == 2
    with closing(sqlite3.connect(tmp_path / "o")) as file:
        assert len(file.execute("SELECT 1 FROM deliveries WHERE refused LIKE 'this version%'").fetchall()) == 2


def test_more_unreadable_events_than_are_read_at_once_hide_no_later_one(tmp_path: Path, make_event: Any) -> None:
    events = [make_event("gate", number) for number in range(6)]
    with closing(one_sink(tmp_path / "o")) as outbox:
        for event in events:
            outbox.accept(event)
    for event in events[:5]:
        change(tmp_path / "o", event.id, document=b"{}")
    with closing(one_sink(tmp_path / "o")) as outbox:
        assert outbox.deliveries(SINK).pending(2) == events[5:]


def test_threads_may_accept_and_deliver_at_once(tmp_path: Path, make_event: Any) -> None:
    outbox = one_sink(tmp_path / "o")
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
            ids = [event.id for event in outbox.deliveries(SINK).pending(7)]
            outbox.deliveries(SINK).delivered(ids)
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
    outbox = one_sink(tmp_path / "o")
    connection = outbox._file._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    outbox.close()


class TestSeveralSinks:
    def test_an_event_leaves_the_file_when_every_sink_has_it(self, tmp_path: Path, make_event: Any) -> None:
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        events = [make_event(camera, 0) for camera in ("gate", "hall")]
        for event in events:
            assert outbox.accept(event)
        outbox.deliveries("near").delivered([events[1].id])
        assert outbox.accept(events[1]) is False  # still there for the other sink
        assert outbox.deliveries("near").pending() == events[:1]
        assert outbox.deliveries("far").pending() == events
        assert [outbox.deliveries(name).depth() for name in ("near", "far")] == [1, 2]
        outbox.deliveries("far").delivered([events[1].id])
        assert outbox.depth() == 1
        outbox.close()
        assert documents(tmp_path / "o") == [events[0].id]

    def test_an_event_set_aside_by_one_sink_is_kept_after_the_other_one_has_it(
        self, tmp_path: Path, make_event: Any
    ) -> None:
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        event = make_event("gate", 0)
        outbox.accept(event)
        outbox.deliveries("near").set_aside(event.id, "too large")
        assert outbox.depth() == 1
        outbox.deliveries("far").delivered([event.id])
        assert outbox.depth() == 0
        outbox.close()
        assert documents(tmp_path / "o") == [event.id]

    def test_a_sink_added_later_starts_with_the_next_event(self, tmp_path: Path, make_event: Any) -> None:
        outbox = Outbox(tmp_path / "o", ["near"])
        outbox.accept(make_event("gate", 0))
        outbox.close()
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        outbox.accept(make_event("gate", 1))
        assert [event.data.sequence for event in outbox.deliveries("near").pending()] == [0, 1]
        assert [event.data.sequence for event in outbox.deliveries("far").pending()] == [1]
        outbox.close()

    def test_a_sink_removed_is_forgotten_with_its_events(
        self, tmp_path: Path, make_event: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        events = [make_event("gate", number) for number in range(3)]
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        for event in events:
            outbox.accept(event)
        outbox.deliveries("near").delivered([events[0].id])
        outbox.close()
        outbox = Outbox(tmp_path / "o", ["near"])
        shown = capsys.readouterr()
        assert "not configured any more" in shown.out + shown.err
        assert outbox.depth() == 2
        outbox.close()
        assert documents(tmp_path / "o") == [events[1].id, events[2].id]
        again = Outbox(tmp_path / "o", ["near", "far"])  # a sink that comes back starts as a new one
        assert again.deliveries("far").pending() == []
        again.close()

    def test_wrong_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one sink"):
            Outbox(tmp_path / "o", [])
        outbox = Outbox(tmp_path / "o", ["near"])
        with pytest.raises(ValueError, match="one of near, got 'far'"):
            outbox.deliveries("far")
        outbox.close()


class TestOutboxOfLayout1:
    """An outbox of mistwatch 0.1.0."""

    def write(self, path: Path, events: list[AlertEvent], *, refused: AlertEvent, delivered: list[AlertEvent]) -> None:
        """Write the file with the statements of 0.1.0."""
        file = sqlite3.connect(path, isolation_level=None)
        file.execute("PRAGMA locking_mode = EXCLUSIVE")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.execute("BEGIN EXCLUSIVE")
        file.execute(
            "CREATE TABLE IF NOT EXISTS events ("
            " position INTEGER PRIMARY KEY AUTOINCREMENT,"
            " id TEXT NOT NULL UNIQUE,"
            " document TEXT NOT NULL,"
            " refused TEXT)"
        )
        file.execute("PRAGMA user_version = 1")
        file.execute("COMMIT")
        for event in events:
            file.execute(
                "INSERT OR IGNORE INTO events (id, document) VALUES (?, ?)", (event.id, event.to_json().decode())
            )
        file.execute("UPDATE events SET refused = ? WHERE id = ?", ("too large", refused.id))
        file.executemany("DELETE FROM events WHERE id = ?", [(event.id,) for event in delivered])
        file.close()

    def test_it_is_converted_without_loss_or_reordering(self, tmp_path: Path, make_event: Any) -> None:
        events = [make_event(camera, number) for number in range(5) for camera in ("hall", "gate")]
        self.write(tmp_path / "o", events, refused=events[2], delivered=events[:2])
        for _ in range(2):  # converted, and opened again
            outbox = Outbox(tmp_path / "o", ["kafka", "far"])
            assert outbox.depth() == 7
            assert outbox.deliveries("kafka").pending() == events[3:]
            assert outbox.deliveries("far").pending() == []
            outbox.close()
        assert documents(tmp_path / "o") == [event.id for event in events[2:]]  # also the one set aside
        outbox = one_sink(tmp_path / "o")
        assert outbox.accept(events[3]) is False  # its id is known
        outbox.accept(make_event("gate", 5))
        outbox.deliveries(SINK).delivered(event.id for event in events[3:])
        assert [event.data.sequence for event in outbox.deliveries(SINK).pending()] == [5]
        outbox.close()

    def test_a_conversion_that_fails_leaves_it_as_it_was(self, tmp_path: Path, make_event: Any) -> None:
        """The disk is full in the middle."""
        events = [make_event("gate", number, padding=2000) for number in range(50)]
        self.write(tmp_path / "o", events, refused=events[0], delivered=[])
        old = (tmp_path / "o").read_bytes()
        code = (
            "import resource, signal, sys\nfrom pathlib import Path\n"
            "from pipeline.alerts.outbox import Outbox, OutboxError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"  # for the log of the conversion, too
            "try:\n    Outbox(Path(sys.argv[1]), ['kafka'])\nexcept OutboxError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "o")], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"outbox {tmp_path / 'o'} ")
        assert done.stdout.count("\n") == 1
        assert (tmp_path / "o").read_bytes() == old
        outbox = one_sink(tmp_path / "o")
        assert outbox.deliveries(SINK).pending() == events[1:]
        outbox.close()


def documents(path: Path) -> list[str]:
    """The ids in the file."""
    with closing(sqlite3.connect(path)) as file:
        return [identity for (identity,) in file.execute("SELECT id FROM events ORDER BY position")]


def change(path: Path, identity: str, **columns: bytes) -> None:
    """Write other content into an event's row."""
    with closing(sqlite3.connect(path)) as file, file:
        for name, value in columns.items():
            changed = file.execute(f"UPDATE events SET {name} = CAST(? AS TEXT) WHERE id = ?", (value, identity))
            assert changed.rowcount == 1


class TestOneClearLine:
    def check(self, path: Path, expected: str) -> None:
        with pytest.raises(OutboxError, match=expected) as caught:
            one_sink(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_not_an_outbox(self, tmp_path: Path) -> None:
        (tmp_path / "o").write_bytes(b"a text file, longer than a header. " * 100)
        self.check(tmp_path / "o", "is not an outbox file")

    def test_damaged(self, tmp_path: Path, make_event: Any) -> None:
        outbox = one_sink(tmp_path / "o")
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
                "o = Outbox(Path(sys.argv[1]), ['kafka'])\nprint('held', flush=True)\nsys.stdin.read()",
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
        one_sink(tmp_path / "o").close()  # free again after the holder's death

    def test_written_by_a_later_version(self, tmp_path: Path) -> None:
        one_sink(tmp_path / "o").close()
        file = sqlite3.connect(tmp_path / "o")
        file.execute("PRAGMA user_version = 99")
        file.close()
        self.check(tmp_path / "o", r"written by a later version of mistwatch \(layout 99; expected at most 3\)")

    def test_a_full_disk(self, tmp_path: Path, make_event: Any) -> None:
        outbox = one_sink(tmp_path / "o")
        pages = outbox._file._connection.execute("PRAGMA page_count").fetchone()[0]
        outbox._file._connection.execute(f"PRAGMA max_page_count = {pages}")

        def fill() -> None:
            for number in range(1000):
                outbox.accept(make_event("gate", number))

        with pytest.raises(OutboxError, match="disk is full"):
            fill()
        accepted = outbox.depth()
        assert [event.data.sequence for event in outbox.deliveries(SINK).pending(1000)] == list(range(accepted))
        outbox.close()

    def test_used_after_it_was_closed(self, tmp_path: Path, make_event: Any) -> None:
        outbox = one_sink(tmp_path / "o")
        outbox.close()
        with pytest.raises(OutboxError, match="closed"):
            outbox.accept(make_event("gate", 0))
