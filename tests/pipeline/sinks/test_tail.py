"""``mistwatch alerts tail`` as a person starts it, against a real broker; and what its lines say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tail_process import COMMAND, TOPIC

from operators.alerting import AlertState
from operators.drift import DriftTransition
from operators.scores import ClipScore
from pipeline.alerts.drift import drift_event
from pipeline.alerts.event import AlertEvent
from pipeline.cli.demo.consumer import Consumer
from pipeline.sinks.tail import TopicEvent, parse_since


def drift() -> bytes:
    clip = ClipScore("gate", "s", 0, 0.0, 60.0, 0.5, "own", "1")
    return drift_event(DriftTransition("gate", clip, clip, 20, 0.5), site="yard", run="").to_json()


@pytest.mark.realparts
class TestAgainstTheBroker:
    def test_new_events_one_line_each_until_ctrl_c(
        self, noida_db: Any, tail: Any, publish: Any, make_event: Any, until: Any
    ) -> None:
        publish(noida_db.bootstrap, make_event("old", 0))
        running = tail(noida_db.bootstrap)
        until(lambda: running.listens, "it listens")
        publish(noida_db.bootstrap, make_event("gate", 0), make_event("gate", 1))
        until(lambda: len(running.out) == 2, "both are printed")
        assert running.end(signal.SIGINT) == 0
        assert len(running.out) == 2  # nothing of before
        assert "gate" in running.out[0]
        assert "BEGIN" in running.out[0]
        assert "peak 0.750" in running.out[0]
        assert "UPDATE" in running.out[1]
        assert running.err == [f"mistwatch: listening to {TOPIC} at {noida_db.bootstrap}\n"]

    def test_since_count_camera_and_json(self, noida_db: Any, tail: Any, publish: Any, make_event: Any) -> None:
        events = [make_event(camera, number) for number in range(3) for camera in ("gate", "Küche")]
        publish(noida_db.bootstrap, *events)
        running = tail(noida_db.bootstrap, "--since", "5m", "--count", "3", "--camera", "Küche", "--json")
        assert running.end() == 0
        assert [json.loads(line) for line in running.out] == [
            json.loads(event.to_json()) for event in events if event.subject == "Küche"
        ]

    def test_drift_is_printed_like_alerts(self, noida_db: Any, tail: Any, publish: Any) -> None:
        event = drift()
        publish(noida_db.bootstrap, event)
        lines, documents = (
            tail(noida_db.bootstrap, "--since", "5m", "--count", "1", *more) for more in ((), ("--json",))
        )
        assert (lines.end(), documents.end()) == (0, 0)
        assert "gate  DRIFT   no longer looks as it was learned" in lines.out[0]
        assert json.loads(documents.out[0]) == json.loads(event)

    def test_a_consumer_of_alerts_passes_over_drift(
        self, noida_db: Any, publish: Any, make_event: Any, tmp_path: Path
    ) -> None:
        """The demo's, which reads what ``alerts tail --json`` prints."""
        seen: list[str] = []
        with Consumer(noida_db.bootstrap, lambda event, _: seen.append(event.type), tmp_path / "log") as consumer:
            publish(noida_db.bootstrap, drift(), make_event("gate", 0))
            consumer.wait_for(1, 60)
        assert seen == ["mistwatch.alert.begin"]

    def test_since_leaves_out_what_is_older(self, noida_db: Any, tail: Any, publish: Any, make_event: Any) -> None:
        publish(noida_db.bootstrap, make_event("old", 0))
        time.sleep(1.1)
        moment = datetime.now(timezone(timedelta(hours=3))).isoformat()
        publish(noida_db.bootstrap, make_event("new", 0))
        running = tail(noida_db.bootstrap, "--since", moment, "--count", "1", "--json")
        assert running.end() == 0
        assert [json.loads(line)["subject"] for line in running.out] == ["new"]

    def test_too_few_events_in_the_time_given(self, noida_db: Any, tail: Any, publish: Any, make_event: Any) -> None:
        publish(noida_db.bootstrap, make_event("gate", 0))
        running = tail(noida_db.bootstrap, "--since", "5m", "--count", "2", "--timeout", "8")
        assert running.end() == 1
        assert len(running.out) == 1
        assert running.err[-1].startswith("mistwatch: 1 of 2 events within 8 s: ")

    def test_other_messages_are_counted_and_left_out(
        self, noida_db: Any, tail: Any, publish: Any, make_event: Any, until: Any
    ) -> None:
        running = tail(noida_db.bootstrap)
        event = make_event("gate", 0)
        foreign = json.loads(event.to_json()) | {"type": "another.application"}
        garbage = [b"\xff\xfe", b"", None, b"[]", b"{}", b"[" * 50_000, b"null", json.dumps(foreign).encode(), b"nine"]
        publish(noida_db.bootstrap, event)
        until(lambda: running.listens, "it listens")
        publish(noida_db.bootstrap, *garbage, event, b"the tenth", event)
        until(lambda: len(running.out) >= 2, "the events are printed")
        assert running.end(signal.SIGINT) == 0
        said = [line for line in running.err if "not an event of this version" in line]
        assert len(said) == 2
        assert "(1 so far)" in said[0]
        assert TOPIC in said[0]
        assert "(10 so far)" in said[1]
        assert not any("Traceback" in line for line in running.err)

    def test_a_missing_broker_and_topic_are_waited_for(
        self, noida_db: Any, tail: Any, publish: Any, make_event: Any, until: Any
    ) -> None:
        noida_db.stop()
        running = tail(noida_db.bootstrap)
        until(lambda: any("Connection refused" in line for line in running.err), "it says what it waits for")
        noida_db.start()
        until(lambda: any("does not exist yet" in line for line in running.err), "it waits for the topic")
        publish(noida_db.bootstrap, make_event("early", 0))
        until(lambda: running.listens, "it listens")
        publish(noida_db.bootstrap, make_event("gate", 0))
        until(lambda: len(running.out) == 2, "the events are printed")
        assert ["early" in running.out[0], "gate" in running.out[1]] == [
            True,
            True,
        ]  # the topic is younger than the tail
        assert running.end(signal.SIGINT) == 0
        assert len(running.err) == 3  # one line for each state, however long it lasted
        assert all(line.startswith("mistwatch: ") for line in running.err)

    @pytest.mark.parametrize("trouble", ["restarted", "frozen"])
    def test_it_goes_on_where_it_was_after_an_outage(
        self, noida_db: Any, tail: Any, publish: Any, make_event: Any, until: Any, trouble: str
    ) -> None:
        publish(noida_db.bootstrap, make_event("old", 0))
        running = tail(noida_db.bootstrap)
        until(lambda: running.listens, "it listens")
        if trouble == "restarted":
            noida_db.stop()
        else:
            os.kill(noida_db.pid, signal.SIGSTOP)
        until(lambda: any("waiting" in line for line in running.err), "it says so")
        if trouble == "restarted":
            noida_db.start()
        else:
            os.kill(noida_db.pid, signal.SIGCONT)
        publish(noida_db.bootstrap, make_event("gate", 0))  # perhaps before it is back: nothing may be missed
        until(lambda: len(running.out) == 1, "the event is printed")
        assert running.end(signal.SIGINT) == 0
        assert "gate" in running.out[0]

    def test_a_reader_that_goes_away(self, noida_db: Any, publish: Any, make_event: Any) -> None:
        """As in ``mistwatch alerts tail … | head -1``."""
        publish(noida_db.bootstrap, *(make_event("gate", number) for number in range(3)))
        process = subprocess.Popen(
            [*COMMAND, noida_db.bootstrap, "--since", "5m"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert "BEGIN" in process.stdout.readline()
            process.stdout.close()
            publish(noida_db.bootstrap, make_event("gate", 3))
            assert process.wait(60) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


class TestStopping:
    """Exit status and signals, as docs/OPERATIONS.md has them."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_while_it_waits_is_success(self, tail: Any, until: Any, number: signal.Signals) -> None:
        running = tail("127.0.0.1:1")
        until(lambda: running.err, "it waits for the broker")
        assert running.end(number, timeout=20) == 0

    @pytest.mark.realparts
    def test_sigterm_and_sigint_while_it_listens_in_the_background(
        self, noida_db: Any, tail: Any, publish: Any, make_event: Any, until: Any
    ) -> None:
        publish(noida_db.bootstrap, make_event("gate", 0))
        for number in (signal.SIGTERM, signal.SIGINT):
            running = tail(noida_db.bootstrap, background=True)
            until(lambda running=running: running.listens, "it listens")
            began = time.monotonic()
            assert running.end(number, timeout=20) == 0
            assert time.monotonic() - began < 10
            assert len(running.err) == 1  # no traceback, no complaint

    def test_with_count_a_signal_is_a_failure(self, tail: Any, until: Any) -> None:
        running = tail("127.0.0.1:1", "--count", "1", "--timeout", "60")
        until(lambda: running.err, "it waits for the broker")
        assert running.end(signal.SIGTERM, timeout=20) == 1
        assert running.err[-1] == "mistwatch: interrupted after 0 of 1 events\n"


class TestWithoutBroker:
    def test_with_count_it_ends_with_status_1_and_says_why(self, tail: Any) -> None:
        running = tail("127.0.0.1:1", "--count", "1", "--timeout", "4")
        assert running.end() == 1
        assert running.out == []
        assert running.err[-1] == (
            "mistwatch: 0 of 1 events within 4 s: Kafka 127.0.0.1:1: Connection refused; is the broker running there?\n"
        )

    def test_without_count_it_waits_until_ctrl_c(self, tail: Any, until: Any) -> None:
        running = tail("127.0.0.1:1")
        until(lambda: running.err, "it says that it waits")
        time.sleep(2.5)
        assert running.process.poll() is None
        assert running.end(signal.SIGINT) == 0
        assert running.err == [
            "mistwatch: waiting: Kafka 127.0.0.1:1: Connection refused; is the broker running there?\n"
        ]

    @pytest.mark.parametrize(
        ("arguments", "env", "expected"),
        [
            (["127.0.0.1"], {}, "HOST:PORT"),
            (["127.0.0.1:1", "--since", "yesterday"], {}, "--since: expected a span like 10m"),
            (["127.0.0.1:1"], {"MISTWATCH_KAFKA__SECURITY__PASSWORD": "s3cret-word"}, "these need user"),
            (["127.0.0.1:1"], {"MISTWATCH_KAFKA__SECURITY__TLS_CA": "/no/such.pem"}, "/no/such.pem"),
        ],
    )
    def test_bad_usage_is_one_line_and_status_2(
        self, tail: Any, arguments: list[str], env: dict[str, str], expected: str
    ) -> None:
        running = tail(*arguments, env=env)
        assert running.end() == 2
        [line] = running.err
        assert line.startswith("mistwatch: ")
        assert expected in line
        assert "s3cret-word" not in line

    @pytest.mark.parametrize(
        ("options", "kind"),
        [([], "alert"), *((["--kind", kind], kind) for kind in ("camera", "drift", "judgement"))],
    )
    def test_the_schema_command_prints_what_is_committed(self, root: Path, options: list[str], kind: str) -> None:
        command = [COMMAND[0], "alerts", "schema", *options]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert printed == (root / f"pipeline/alerts/schema/{kind}.v1.schema.json").read_text()


class TestLines:
    def test_an_end(self, make_event: Any) -> None:
        event = make_event("gate", 3)
        data = event.data.model_copy(
            update={
                "state": AlertState.END,
                "started_pts_seconds": 3599.96,
                "ended_pts_seconds": 3725.5,
                "end_reason": "below_threshold",
                "evidence": ("file:///a.jpg",),
            }
        )
        event = event.model_copy(update={"data": data, "time": datetime(2026, 3, 1, 7, 8, 9, tzinfo=UTC)})
        assert TopicEvent(event, {}).as_text() == (
            "2026-03-01 07:08:09Z  1:00:00.0-1:02:05.5  gate  END     peak 0.750 at 0:00:00.0 (opens at 0.6)"
            "  ended: below_threshold  file:///a.jpg"
        )

    def test_without_a_wall_clock(self, make_event: Any) -> None:
        event = make_event("gate", 0).model_copy(update={"time": None})
        assert TopicEvent(event, {}).as_text().startswith("(no wall clock)")

    def test_what_a_later_version_adds_is_kept_in_json(self, make_event: Any) -> None:
        document = json.loads(make_event("gate", 0).to_json()) | {"later": ["é", 1]}
        assert json.loads(TopicEvent(AlertEvent.model_validate(document), document).as_json()) == document


class TestSince:
    NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("90s", datetime(2026, 3, 1, 11, 58, 30, tzinfo=UTC)),
            ("10m", datetime(2026, 3, 1, 11, 50, tzinfo=UTC)),
            ("2h", datetime(2026, 3, 1, 10, 0, tzinfo=UTC)),
            ("1d", datetime(2026, 2, 28, 12, 0, tzinfo=UTC)),
            ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
            ("2026-02-28T10:00:00+02:00", datetime(2026, 2, 28, 8, 0, tzinfo=UTC)),
            ("2026-02-28T10:00Z", datetime(2026, 2, 28, 10, 0, tzinfo=UTC)),
        ],
    )
    def test_spans_and_times(self, text: str, expected: datetime) -> None:
        assert parse_since(text, self.NOW) == expected

    @pytest.mark.parametrize("text", ["", "m", "-5m", "5 m", "10w", "1.5h", "yesterday", "99999999999d", "2026-13-01"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="10m or an ISO 8601"):
            parse_since(text, self.NOW)
