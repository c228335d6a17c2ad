"""A console over a real broker: it follows the topics through outages, publishes judgements, and refuses misuse."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import console_scene as made
import pytest
from brokers import TestBroker
from structlog.testing import capture_logs

from operators.alerting import AlertState
from pipeline.alerts.judgement import JudgementEvent
from pipeline.console.readers import Topics
from pipeline.console.serving import Console, ConsoleError
from pipeline.errors import UsageError
from pipeline.sinks.kafka_broker import Broker
from pipeline.sinks.topic_end import read_to_end

PATIENCE = 30.0


def wait_for(right: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    until = time.monotonic() + seconds
    while not (found := right()):
        assert time.monotonic() < until, "not in time"
        time.sleep(0.05)
    return found


def ask(console: Console, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    kind = {}
    if body is not None:  # as the console's own page does
        token = ask(console, "/api/session")[1]["csrf_token"]
        kind = {"content-type": "application/json", "origin": console.url, "x-csrf-token": token}
    request = urllib.request.Request(console.url + path, data, {**kind, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else text.decode()


def alerts_of(console: Console, **query: str) -> list[Any]:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return list(ask(console, f"/api/alerts?{words}")[1]["alerts"])


def test_what_is_on_the_topics_is_shown(console, scene):
    now = datetime.now(UTC)
    scene.reports(made.report("gate"))
    scene.scores(*made.score_records("gate", [0.3] * 60, until=now))
    scene.picture("gate", made.plain_frame(), made.heat_at(0.5, 0.5, 64, 48))
    scene.events(*made.alert("gate", now, states=[AlertState.BEGIN]))
    wait_for(lambda: alerts_of(console, camera="gate"))
    gate = wait_for(lambda: (one := ask(console, "/api/cameras/gate")[1]).get("picture") and one["detectors"] and one)
    assert gate["is_live"]
    assert gate["detectors"][0]["smoothed"] == 0.3
    assert gate["detectors"][0]["threshold"] == made.JUDGED.open_threshold
    assert not gate["picture"]["is_stale"]
    picture = ask(console, "/api/cameras/gate/picture")[1]
    assert (picture["heat"]["rows"], picture["heat"]["columns"]) == (15, 24)
    wait_for(lambda: ask(console, "/readyz")[0] == 200)
    assert ask(console, "/healthz") == (200, {"status": "ok"})


def test_a_judgement_is_on_the_topic_as_the_command_publishes_it(console, scene, console_broker):
    (begin,) = made.alert("judged", datetime.now(UTC), states=[AlertState.BEGIN], angle=20.0)
    scene.events(begin)
    identity = str(begin.data.alert_id)
    wait_for(lambda: alerts_of(console, camera="judged"))
    status, published = ask(console, f"/api/alerts/{identity}/judgement", {"verdict": "normal", "note": "the gardener"})
    assert (status, published["by"]) == (200, "local"), published
    found = [one.event for one in read_to_end(Broker(console_broker.bootstrap), made.ALERTS)]
    (judgement,) = [one for one in found if isinstance(one, JudgementEvent)]
    assert (judgement.data.target, judgement.data.verdict) == (begin.data.alert_id, "normal")
    assert judgement.data.note == "the gardener"
    assert judgement.data.expires_at is not None
    wait_for(lambda: alerts_of(console, judgement="normal"))
    # And back, by way of the memory that now follows the topic.
    assert ask(console, f"/api/alerts/{identity}/judgement", {"verdict": "withdrawn"})[0] == 200
    wait_for(lambda: not alerts_of(console, judgement="normal"))


def test_an_alert_without_likeness_cannot_be_judged(console, scene):
    (begin,) = made.alert("plain", datetime.now(UTC), states=[AlertState.BEGIN])
    scene.events(begin)
    wait_for(lambda: alerts_of(console, camera="plain"))
    status, problem = ask(console, f"/api/alerts/{begin.data.alert_id}/judgement", {"verdict": "real"})
    assert status == 409
    assert "likeness" in problem["detail"]


def test_a_page_elsewhere_that_gives_its_name_this_address_is_refused(console):
    assert ask(console, "/api/cameras", headers={"host": "evil.example"})[0] == 421
    assert ask(console, "/api/cameras", headers={"host": f"localhost:{console.port}"})[0] == 200


@pytest.mark.parametrize("size", [100_000, 100], ids=["more than all buffers hold", "less"])
def test_a_browser_that_reads_nothing_is_disconnected_with_one_line_and_leaves_nothing(
    console_broker: TestBroker, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    console = Console(console_broker.bootstrap, Topics(), port=0, stuck_seconds=1.0)
    console.start()
    try:
        with capture_logs() as logged, socket.socket() as stuck, listening(console) as quick:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect(("127.0.0.1", console.port))
            stuck.sendall(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % console.port)
            wait_for(lambda: console.parts.streams == 2)
            numbers: list[int] = []
            reading = threading.Thread(target=lambda: numbers.extend(news(quick, 100)), daemon=True)
            reading.start()
            for number in range(100):
                console.state.hub.publish("news", {"number": number, "text": "x" * size})
            wait_for(lambda: console.parts.streams == 1)
            # The closing of the connection cannot be flushed to it either, and must not wait for that.
            wait_for(lambda: len(console._server.server_state.connections) == 1)
            reading.join(PATIENCE)
        assert numbers == list(range(100)), "the other browser has lost an update"
        lines = [line for line in logged if "browser" in line["event"]]
        assert [(line["event"], line["address"]) for line in lines] == [
            ("a browser takes no updates and is disconnected", "127.0.0.1")
        ]
        assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
    finally:
        console.stop()


def listening(console: Console) -> Any:
    """Open the stream of updates."""
    return urllib.request.urlopen(console.url + "/api/stream", timeout=10)


def news(stream: Any, count: int) -> list[int]:
    """Read the numbers of the next updates of the kind ``news`` from a stream."""
    found: list[int] = []
    is_news = False
    while len(found) < count:
        line = stream.readline()
        assert line, f"the stream has ended after {len(found)} updates"
        if is_news and line.startswith(b"data: "):
            found.append(json.loads(line[6:])["number"])
        is_news = line == b"event: news\n" or (is_news and not line.startswith(b"data: "))
    return found


def test_it_goes_on_after_an_outage_of_the_broker_and_says_meanwhile_that_it_is_blind(noida_db: TestBroker):
    scene = made.Scene(noida_db.bootstrap)
    console = Console(noida_db.bootstrap, Topics(), port=0)
    console.start()
    try:
        first = datetime.now(UTC)
        scene.events(*made.alert("gate", first))
        wait_for(lambda: alerts_of(console))
        time.sleep(1.2)  # this broker may lose what it took within the last second
        scene.close()
        noida_db.stop()
        topics = wait_for(lambda: (all_ := ask(console, "/api/health")[1]["topics"]) and all_[0]["trouble"] and all_)
        assert "Kafka" in topics[0]["trouble"]
        assert ask(console, "/readyz")[0] == 503
        assert len(alerts_of(console)) == 1  # what it knows, it still shows
        noida_db.start()
        scene = made.Scene(noida_db.bootstrap)
        scene.events(*made.alert("gate", datetime.now(UTC)))
        wait_for(lambda: len(alerts_of(console)) == 2)
        assert ask(console, "/api/health")[1]["topics"][0]["trouble"] is None
    finally:
        console.stop()
        scene.close()


def test_a_topic_that_does_not_exist_yet_is_waited_for(noida_db: TestBroker):
    console = Console(noida_db.bootstrap, Topics(alerts="other.alerts"), port=0)
    console.start()
    try:
        wait_for(lambda: ask(console, "/api/health")[1]["topics"][0]["is_missing"])
        alerts = ask(console, "/api/health")[1]["topics"][0]
        assert (alerts["topic"], alerts["trouble"].endswith("topic other.alerts does not exist yet")) == (
            "other.alerts",
            True,
        )
        assert ask(console, "/api/alerts")[1]["alerts"] == []
        assert ask(console, "/readyz")[0] == 200  # no topic has a record yet
    finally:
        console.stop()


def test_a_port_that_is_taken_and_an_address_for_others_are_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConsoleError, match=f"console at 127.0.0.1:{port}: another program uses this port"):
            Console("127.0.0.1:1", Topics(), port=port)
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(UsageError, match="no login is configured") as refused:
            Console("127.0.0.1:1", Topics(), host=host, port=0)
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the brokers with --bootstrap, or a configuration with --config"),
        (["--bootstrap", "127.0.0.1:1", "--host", "0.0.0.0"], "no login is configured"),
        (["--bootstrap", "nonsense"], "must be HOST:PORT"),
        (["--bootstrap", "127.0.0.1:1", "--evidence", "/nowhere"], "--evidence /nowhere: not a folder"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, words):
    command = [sys.executable, "-m", "pipeline.cli", "console", "--port", "0", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_twenty_browsers_at_once_lose_no_update(console, scene):
    wait_for(lambda: not console.state.is_quiet)
    events = [made.alert("crowd", datetime.now(UTC), seconds=2 + number)[0] for number in range(25)]
    for number, event in enumerate(events):
        moved = event.data.model_copy(update={"alert_id": uuid.uuid4()})
        events[number] = event.model_copy(update={"data": moved, "id": f"{moved.alert_id}/0"})
    wanted = {str(event.data.alert_id) for event in events}
    heard: list[set[str]] = [set() for _ in range(20)]
    ready = threading.Barrier(21)

    def listen(mine: set[str]) -> None:
        with urllib.request.urlopen(f"{console.url}/api/stream", timeout=PATIENCE) as stream:
            kind = ""
            for line in stream:
                if line.startswith(b"event: "):
                    kind = line[7:].decode().strip()
                    if kind == "hello":
                        ready.wait(PATIENCE)
                elif line.startswith(b"data: ") and kind == "alert":
                    mine.add(json.loads(line[6:])["id"])
                    if wanted <= mine:
                        return

    browsers = [threading.Thread(target=listen, args=[mine], daemon=True) for mine in heard]
    for browser in browsers:
        browser.start()
    ready.wait(PATIENCE)
    for event in events:
        scene.events(event)
    for browser in browsers:
        browser.join(PATIENCE)
    assert [wanted - mine for mine in heard] == [set()] * 20


def test_the_command_serves_until_it_is_stopped(console_broker, scene):
    command = [sys.executable, "-m", "pipeline.cli", "console", "--port", "0", "--bootstrap", console_broker.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("mistwatch: the console is at http://127.0.0.1:")
            with urllib.request.urlopen(line.split()[-1] + "/healthz", timeout=10) as answer:
                assert json.load(answer) == {"status": "ok"}
            logged = [process.stderr.readline()]  # the topic of changes does not exist before the first change
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            logged += process.stderr.readlines()
            assert "console" in {
                json.loads(one)["component"] for one in logged
            }  # on standard error, credentials removed
            assert process.stdout.read() == ""
        finally:
            process.kill()
