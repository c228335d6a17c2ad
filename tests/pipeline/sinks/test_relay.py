"""The relay over a scripted sink: rounds, retries, back-off, reports, several sinks, and the death of its process."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_sink import ScriptedServer

from pipeline.alerts.outbox import Outbox
from pipeline.sinks.base import SinkUnavailableError, Verdict
from pipeline.sinks.relay import Relay, Relays, one_of_each_camera


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


def arrived(server: ScriptedServer) -> list[tuple[str, int]]:
    """Camera and sequence number of every event that the server has, in order."""
    documents = [json.loads(document) for document in server.received]
    return [(document["subject"], document["data"]["sequence"]) for document in documents]


class TestOneSink:
    def test_an_event_to_be_retried_keeps_its_place_and_does_not_repeat_others(
        self, server: ScriptedServer, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        for number in range(2):
            for camera in ("gate", "hall"):
                outbox.accept(make_event(camera, number))
        server.script = [Verdict.RETRY, Verdict.ACKNOWLEDGED]  # gate 0, hall 0
        with Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "everything delivered")
        assert arrived(server) == [("hall", 0), ("gate", 0), ("hall", 1), ("gate", 1)]
        assert server.connections == 2  # the one that failed was not used again
        assert listener.texts("waiting") == ["Scripted: as the script says"]
        assert len(listener.texts("resumed")) == 1
        assert len(listener.texts("reconnected")) == 1

    def test_an_event_refused_permanently_is_set_aside_and_the_next_one_of_its_camera_follows(
        self, server: ScriptedServer, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        for number in range(2):
            outbox.accept(make_event("gate", number))
        server.script = [Verdict.NEVER]
        with Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "everything delivered")
        assert arrived(server) == [("gate", 1)]
        assert len(listener.texts("failed")) == 1
        assert listener.texts("waiting") == []

    def test_an_event_of_a_later_version_holds_up_no_other(
        self, server: ScriptedServer, tmp_path: Path, make_event: Any, listener: Any, until: Any
    ) -> None:
        """The worker went back to this version while the sink was away."""
        path = tmp_path / "o"
        unknown = make_event("gate", 1)
        with contextlib.closing(Outbox(path, ["kafka"])) as outbox:
            for event in (make_event("gate", 0), unknown, make_event("gate", 2), make_event("hall", 0)):
                outbox.accept(event)
        document = json.loads(unknown.to_json()) | {"type": "mistwatch.tamper.begin"}
        with contextlib.closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE events SET document = ? WHERE id = ?", (json.dumps(document), unknown.id))

        outbox = Outbox(path, ["kafka"])
        relay = Relay(server.sink(), outbox.deliveries("kafka"), listener=listener)
        with contextlib.closing(outbox), relay:
            until(lambda: outbox.depth() == 0, "everything delivered")
            outbox.accept(make_event("gate", 3))
            relay.notify()
            until(lambda: outbox.depth() == 0, "the next one delivered")
        assert [number for camera, number in arrived(server) if camera == "gate"] == [0, 2, 3]
        assert ("hall", 0) in arrived(server)
        assert listener.texts("failed") == [
            f"{unknown.id} this version of mistwatch cannot read it: unknown type 'mistwatch.tamper.begin'"
        ]
        assert listener.texts("waiting") == []

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (SinkUnavailableError("Scripted: away"), "Scripted: away"),
            (KeyError("a bug\nof two lines"), "Scripted: KeyError: 'a bug\\nof two lines'"),
        ],
    )
    def test_an_error_of_the_sink_is_reported_and_the_event_is_sent_again(
        self,
        server: ScriptedServer,
        outbox: Outbox,
        make_event: Any,
        listener: Any,
        until: Any,
        error: Exception,
        expected: str,
    ) -> None:
        outbox.accept(make_event("gate", 0))
        server.script = [error]
        with Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "delivered")
        assert arrived(server) == [("gate", 0)]
        assert listener.texts("waiting") == [expected]

    def test_it_backs_off_up_to_a_second(
        self, server: ScriptedServer, outbox: Outbox, listener: Any, until: Any
    ) -> None:
        server.stop()
        with Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            time.sleep(4.0)
            assert 3 <= server.connections <= 7  # after 0, 0.2, 0.6, 1.4, 2.4, 3.4 s
            server.start()
            until(lambda: listener.texts("resumed"), "connected again", timeout=10)
        assert listener.texts("reconnected") == []  # there was no connection before

    def test_a_slow_answer_is_reported_while_it_is_awaited(
        self, server: ScriptedServer, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        outbox.accept(make_event("gate", 0))
        server.freeze()
        with Relay(server.sink(give_up_seconds=60), outbox.deliveries("kafka"), listener=listener):
            until(lambda: listener.texts("waiting"), "the silence is reported", timeout=20)
            server.thaw()
            until(lambda: outbox.depth() == 0, "delivered")
        assert listener.calls[0] == ("waiting", "Scripted: acknowledges nothing")
        assert [kind for kind, _ in listener.calls] == ["waiting", "published", "resumed"]
        assert server.connections == 1

    def test_events_of_a_camera_that_another_worker_has_are_marked_late(
        self, server: ScriptedServer, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        for number in range(2):
            outbox.accept(make_event("gate", number))
            outbox.accept(make_event("yard", number))
        relay = Relay(
            server.sink(), outbox.deliveries("kafka"), listener=listener, is_late=lambda event: event.subject == "gate"
        )
        with relay:
            until(lambda: outbox.depth() == 0, "everything delivered")
        late = {(data["camera"], data.get("late")) for data in (json.loads(each)["data"] for each in server.received)}
        assert late == {("gate", True), ("yard", None)}

    def test_check_reports_a_missing_sink(self, server: ScriptedServer, outbox: Outbox) -> None:
        relays = Relays([Relay(server.sink(), outbox.deliveries("kafka"))])
        relays.check()
        server.stop()
        with pytest.raises(SinkUnavailableError, match="Scripted: Connection refused"):
            relays.check()


class TestDelays:
    def test_a_wall_clock_that_is_set_changes_no_delay(
        self, server: ScriptedServer, outbox: Outbox, make_event: Any, listener: Any, until: Any
    ) -> None:
        event = make_event("gate", 0)
        long_ago = event.data.model_copy(update={"captured_at": datetime(1970, 1, 1, tzinfo=UTC)})
        outbox.accept(event.model_copy(update={"data": long_ago}).captured(time.monotonic() - 2.0))
        with Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "everything delivered")
        (delay,) = listener.delays
        assert 2.0 <= delay < 60.0
        (publish_seconds,) = listener.publish_seconds
        assert 0.0 <= publish_seconds <= delay - 2.0, "since the commit, not since the frame"

    def test_no_clock_runs_through_two_processes(
        self, server: ScriptedServer, tmp_path: Path, make_event: Any, listener: Any, until: Any
    ) -> None:
        with contextlib.closing(Outbox(tmp_path / "outbox.sqlite", ["kafka"])) as outbox:
            outbox.accept(make_event("gate", 0))
        outbox = Outbox(tmp_path / "outbox.sqlite", ["kafka"])
        with contextlib.closing(outbox), Relay(server.sink(), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, "everything delivered")
        assert listener.delays == listener.publish_seconds == [None]


class TestTwoSinks:
    def test_one_goes_on_while_the_other_is_away_also_after_a_restart(
        self, tmp_path: Path, make_event: Any, until: Any
    ) -> None:
        near, far = ScriptedServer(), ScriptedServer()
        far.stop()
        for first in (0, 3):
            outbox = Outbox(tmp_path / "o", ["near", "far"])
            relays = Relays(Relay(server.sink(), outbox.deliveries(name)) for name, server in self.named(near, far))
            relays.start()
            for number in range(first, first + 3):
                outbox.accept(make_event("gate", number))
            relays.notify()
            until(lambda seen=first + 3: len(near.received) == seen, "the near one has everything")
            began = time.monotonic()
            relays.stop(1.0)
            assert time.monotonic() - began < 1.0 + 2.0  # both at the same time
            assert outbox.deliveries("near").depth() == 0
            assert outbox.deliveries("far").depth() == outbox.depth() == first + 3
            outbox.close()

        far.start()
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        relays = Relays(Relay(server.sink(), outbox.deliveries(name)) for name, server in self.named(near, far))
        relays.start()
        until(lambda: outbox.depth() == 0, "the far one has everything")
        relays.stop(1.0)
        outbox.close()
        assert arrived(near) == arrived(far) == [("gate", number) for number in range(6)]

    def test_an_event_set_aside_for_one_still_reaches_the_other(
        self, tmp_path: Path, make_event: Any, until: Any
    ) -> None:
        near, far = ScriptedServer(), ScriptedServer()
        near.script = [Verdict.NEVER]
        outbox = Outbox(tmp_path / "o", ["near", "far"])
        relays = Relays(Relay(server.sink(), outbox.deliveries(name)) for name, server in self.named(near, far))
        relays.start()
        outbox.accept(make_event("gate", 0))
        until(lambda: outbox.depth() == 0, "everything answered")
        relays.stop(1.0)
        outbox.close()
        assert (arrived(near), arrived(far)) == ([], [("gate", 0)])

    @staticmethod
    def named(near: ScriptedServer, far: ScriptedServer) -> list[tuple[str, ScriptedServer]]:
        return [("near", near), ("far", far)]


#: Delivers to two files. The second sink writes its first event and never returns; the first one delivers everything.
STUCK_PROCESS = """
import sys, threading
from pathlib import Path
from json_lines_sink import JsonLinesSettings, JsonLinesSink
from pipeline.alerts.outbox import Outbox
from pipeline.sinks.relay import Relay, Relays

class Stuck(JsonLinesSink):
    def send(self, events, keep_waiting):
        super().send(events, keep_waiting)
        while relays and good.depth():
            threading.Event().wait(0.01)
        print("sent, not acknowledged", flush=True)
        threading.Event().wait()

outbox = Outbox(Path(sys.argv[1]), ["good", "stuck"])
good = outbox.deliveries("good")
relays = Relays([
    Relay(JsonLinesSink(JsonLinesSettings(path=sys.argv[2])), good),
    Relay(Stuck(JsonLinesSettings(path=sys.argv[3])), outbox.deliveries("stuck")),
])
relays.start()
threading.Event().wait()
"""


def test_a_process_killed_between_sending_and_the_answer(
    tmp_path: Path, root: Path, make_event: Any, until: Any
) -> None:
    """The event is sent again, never lost; the other sink's position stays where it was."""
    from json_lines_sink import JsonLinesSettings, JsonLinesSink

    path, good, stuck = tmp_path / "o", tmp_path / "good.jsonl", tmp_path / "stuck.jsonl"
    outbox = Outbox(path, ["good", "stuck"])
    for number in range(3):
        outbox.accept(make_event("gate", number))
    outbox.close()
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_PROCESS, str(path), str(good), str(stuck)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": f"{root}:{root / 'tests' / 'support'}"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent, not acknowledged\n"
    finally:
        process.kill()  # SIGKILL
        process.communicate()

    outbox = Outbox(path, ["good", "stuck"])
    assert outbox.deliveries("good").depth() == 0
    assert [event.data.sequence for event in outbox.deliveries("stuck").pending()] == [0, 1, 2]
    relays = Relays(
        Relay(JsonLinesSink(JsonLinesSettings(path=file)), outbox.deliveries(name))
        for name, file in (("good", good), ("stuck", stuck))
    )
    relays.start()
    until(lambda: outbox.depth() == 0, "everything delivered")
    relays.stop(5.0)
    outbox.close()
    for file, expected in ((good, [0, 1, 2]), (stuck, [0, 0, 1, 2])):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["data"]["sequence"] for line in lines] == expected
    repeated = [json.loads(line)["id"] for line in stuck.read_text().splitlines()[:2]]
    assert repeated[0] == repeated[1]


def test_a_relay_whose_sink_never_returns_does_not_hold_up_the_stop(outbox: Outbox, make_event: Any) -> None:
    released = threading.Event()
    server = ScriptedServer()
    sink = server.sink()
    sink.send = lambda *_: released.wait(60) and []  # type: ignore[assignment,method-assign,return-value]
    outbox.accept(make_event("gate", 0))
    relay = Relay(sink, outbox.deliveries("kafka"))
    relay.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert relay.stop(0.5) == 1
    assert time.monotonic() - began < 0.5 + 2.0
    released.set()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_rounds_hold_each_camera_once_and_keep_its_order(pairs: list[tuple[str, int]]) -> None:
    class Item:
        def __init__(self, subject: str, number: int) -> None:
            self.subject, self.number = subject, number

    items = [Item(camera, number) for camera, number in pairs]
    rounds: list[list[Item]] = list(one_of_each_camera(items))  # type: ignore[arg-type]
    for events in rounds:
        assert len({event.subject for event in events}) == len(events) > 0
    for camera in "abc":
        sent = [event for events in rounds for event in events if event.subject == camera]
        assert sent == [item for item in items if item.subject == camera]
    assert sum(map(len, rounds)) == len(items)
