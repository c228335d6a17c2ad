"""``mistwatch replay`` as a process: killed and run again, bad recordings, the topic, and what is refused."""

from __future__ import annotations

import errno
import io
import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from ports import free_port
from replays import begin, contents, replay, start_replay, waiting
from site_runs import BRIGHT, DARK, write_video
from triton_of_brightness import Server
from typer.testing import CliRunner

from pipeline.alerts.event import AlertEvent
from pipeline.cli.live import Stop
from pipeline.cli.main import app
from pipeline.cli.replay import annotate_run
from pipeline.cli.replay_display import ReplayDisplay
from pipeline.errors import MistwatchError
from pipeline.replay import publishing
from pipeline.runs.parts import alone_in

pytestmark = pytest.mark.realparts

USAGE, FAILED = 2, 1


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``mistwatch replay ARGUMENTS``, to its end."""
    process = start_replay(*arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def on_topic(broker: str, topic: str) -> list[str]:
    """What a topic of one partition has now."""
    consumer = KafkaConsumer(bootstrap_servers=broker)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning()
    messages: list[str] = []
    while consumer.position(partition) < end:
        messages += [message.value.decode() for message in consumer.poll(1000).get(partition, [])]
    consumer.close()
    return messages


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Six recordings, four of them with an alert; together a minute and a half."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(6):
        write_video(folder / f"{number}.mp4", [(5.0, DARK), (5.0, BRIGHT if number % 3 else DARK), (5.0, DARK)])
    return folder


def wait_for_parts(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    limit = time.monotonic() + 120
    while sum(part.is_dir() for part in folder.glob("parts/????????????????")) < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < limit, "no recording was finished"
        time.sleep(0.01)


@pytest.mark.slow  # stopped replays have tests
def test_a_replay_that_is_killed_and_then_stopped_goes_on_to_the_same_bytes(
    films: Path, tmp_path: Path, triton: Server
) -> None:
    replay(tmp_path / "whole", [films], triton.address, site={"site": "replay"})
    folder = tmp_path / "run"
    again = (films, "--out", folder, "--triton", triton.address, "--jobs", 2)
    killed = start_replay(*again, "--speed", "20x")
    wait_for_parts(killed, folder, 1)
    killed.kill()
    killed.communicate(timeout=60)
    stopped = start_replay(*again, "--speed", "20x")
    wait_for_parts(stopped, folder, 3)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 128 + signal.SIGINT
    assert f"of 6 recordings are done; the same command with --out {folder} goes on" in err
    assert not (folder / "run.json").exists()
    rest = run(*again, "--json")
    assert rest.returncode == 0, rest.stderr
    summary = json.loads(rest.stdout.splitlines()[-1])
    assert (summary["recordings"], summary["failed"], summary["alerts"]) == (6, 0, 4)
    assert 3 <= summary["kept"] < 6
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_recorders_export_is_replayed_whole_and_other_files_are_named(tmp_path: Path, triton: Server) -> None:
    films = tmp_path / "export"
    films.mkdir()
    write_video(tmp_path / "film.mp4", [(2.0, DARK)])
    for name in ("ch01_20240501180000.dav", "phone.mp4", "unnamed"):
        shutil.copy(tmp_path / "film.mp4", films / name)
    (films / "player.ini").touch()
    done = run(films, "--out", tmp_path / "run", "--triton", triton.address, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["recordings"] == 3
    assert done.stderr == f"mistwatch: passed over 1 file not recognised as video (1 .ini): {films}/player.ini\n"


def test_a_bad_file_among_good_ones_is_listed_and_fails_the_command_unless_told_otherwise(
    tmp_path: Path, triton: Server
) -> None:
    write_video(tmp_path / "a.mp4", [(2.0, DARK)])
    (tmp_path / "b.mp4").write_text("no film")
    write_video(tmp_path / "c.mp4", [(2.0, DARK)])
    arguments = (tmp_path, "--out", tmp_path / "run", "--triton", triton.address)
    first = run(*arguments)
    assert first.returncode == FAILED
    (line,) = first.stderr.splitlines()
    assert line.startswith("mistwatch: not replayed: b: ")
    assert "not a video that can be opened" in line
    assert first.stdout.endswith("3 recordings (0:00:04), 18 clips scored, 0 alert(s), 1 not replayed\n")
    second = CliRunner().invoke(app, ["replay", *map(str, arguments), "--skip-bad"])
    assert second.exit_code == 0, second.exception
    assert second.stdout.endswith("18 clips scored, 0 alert(s), 2 kept from before, 1 not replayed\n")


def test_the_events_go_to_a_topic_once_each_and_to_standard_output(tmp_path: Path, triton: Server, broker: str) -> None:
    video = write_video(tmp_path / "v.mp4", [(2.0, DARK), (2.0, BRIGHT), (2.0, DARK)])
    topic = f"t{tmp_path.name}"
    result = run(
        video, "--out", tmp_path / "run", "--triton", triton.address, "--publish", topic, "--kafka", broker, "--json",
        "--start-time", "2024-05-01T18:00:00+02:00",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    *events, summary = result.stdout.splitlines()
    assert json.loads(summary)["alerts"] == 1
    assert "".join(f"{line}\n" for line in events) == (tmp_path / "run" / "alerts.jsonl").read_text()
    consumer = KafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest", consumer_timeout_ms=5000)
    told = [(message.key, message.value.decode()) for message in consumer]
    consumer.close()
    assert told == [(b"v", line) for line in events]
    begin = AlertEvent.model_validate_json(events[0])
    # The average of three is at .5 with the first clip that is wholly bright: its first frame is at 2 s.
    assert begin.data.started_at is not None
    assert begin.data.started_at.isoformat() == "2024-05-01T16:00:02+00:00"


def test_a_finished_replay_publishes_what_it_has_and_not_again_what_is_on_the_topic(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    video = write_video(tmp_path / "v.mp4", [(2.0, DARK), (2.0, BRIGHT)])
    replay(tmp_path / "run", [video], triton.address, site={"site": "replay"})
    topic = f"t{tmp_path.name}"
    arguments = ["--out", str(tmp_path / "run"), "--triton", triton.address, "--publish", topic, "--kafka", broker]
    for _ in range(2):
        result = CliRunner().invoke(app, ["replay", str(video), *arguments])
        assert result.exit_code == 0, result.exception
    consumer = KafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest", consumer_timeout_ms=5000)
    assert [json.loads(message.value)["data"]["state"] for message in consumer] == ["begin", "end"]
    consumer.close()


def test_events_that_wait_for_a_topic_stay_with_it_and_a_stop_is_a_stop(
    tmp_path: Path, triton: Server, broker: str
) -> None:
    video = write_video(tmp_path / "v.mp4", [(2.0, DARK), (2.0, BRIGHT)])
    folder = tmp_path / "run"
    out = (video, "--out", folder, "--triton", triton.address)
    one, two = f"t{tmp_path.name}", f"u{tmp_path.name}"
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, and never answers
        away = f"127.0.0.1:{mute.getsockname()[1]}"
        stopped = start_replay(*out, "--publish", one, "--kafka", away)
        limit = time.monotonic() + 120
        while not (folder / "run.json").exists():  # it waits for the broker then
            assert stopped.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        stopped.send_signal(signal.SIGTERM)
        _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 128 + signal.SIGTERM, err
    *_, left, done = err.splitlines()
    assert left.startswith(f"mistwatch: 2 alert event(s) are not on the topic {one} yet")
    assert left.endswith(f"; the same command with --out {folder} sends them")
    assert done == (f"mistwatch: stopped, 1 of 1 recordings are done; the same command with --out {folder} goes on")
    for topic in (two, one):
        result = run(*out, "--publish", topic, "--kafka", broker)
        assert result.returncode == 0, result.stderr
    for topic in (two, one):
        assert on_topic(broker, topic) == (folder / "alerts.jsonl").read_text().splitlines()
    assert waiting(folder) == [0, 0, 2]  # what is for the broker that never answered


def test_a_broker_that_goes_away_is_one_line_after_what_the_replay_has_found(
    tmp_path: Path, triton: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 1.0)
    video = write_video(tmp_path / "v.mp4", [(2.0, DARK), (2.0, BRIGHT)])
    with socket.create_server(("127.0.0.1", 0)) as mute:
        away = f"127.0.0.1:{mute.getsockname()[1]}"
        result = CliRunner().invoke(
            app,
            [
                *("replay", str(video), "--out", str(tmp_path / "run"), "--triton", triton.address, "--json"),
                *("--publish", "t", "--kafka", away),
            ],
        )
    assert isinstance(result.exception, MistwatchError)
    assert result.exception.exit_status == FAILED
    (line,) = str(result.exception).splitlines()
    assert line.startswith("2 alert event(s) are not on the topic t yet")
    assert line.endswith(f"; the same command with --out {tmp_path / 'run'} sends them")
    assert json.loads(result.stdout.splitlines()[-1])["alerts"] == 1


class Closed(io.StringIO):
    """Standard error that nobody reads any more."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_alerts_that_nobody_reads_of_any_more_end_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not, by rich's SystemExit, the operators' thread, for which the replay would wait."""
    stop = Stop()
    shown = ReplayDisplay(as_json=False, stop=stop)
    monkeypatch.setattr("sys.stderr", Closed())
    shown.event(begin("gate"))
    assert stop.is_set()


def test_no_film_is_annotated_while_another_process_is_at_the_folder(tmp_path: Path, triton: Server) -> None:
    replay(tmp_path / "run", [write_video(tmp_path / "v.mp4", [(1.0, DARK)])], triton.address)
    with alone_in(tmp_path / "run"), pytest.raises(MistwatchError, match="another process is replaying into it"):
        annotate_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["gone.mp4"], USAGE, "gone.mp4: no such file; expected a video, a folder of videos or a manifest"),
        (["v.mp4", "--speed", "fast"], USAGE, "--speed fast: expected max, or a multiple like 1x or 4x"),
        (["v.mp4", "--start-time", "today"], USAGE, "--start-time today: expected a time with its UTC offset"),
        (["v.mp4", "w.mp4", "--start-time", "2024-05-01T18:00:00Z"], USAGE, "--start-time needs exactly one recording"),
        (["v.mp4", "--publish", "t"], USAGE, "--publish needs a broker: --kafka HOST:PORT"),
        (["v.mp4", "--model", "other@3"], USAGE, "serves mean version 1, not other@3: leave out --model"),
        (["v.mp4", "--config", "gone.yaml"], USAGE, "gone.yaml: no such file"),
        (
            ["v.mp4", "--publish", "t", "--kafka", "127.0.0.1:{free}"],
            FAILED,
            "Connection refused; is the broker running there?",
        ),
        (["v.mp4", "--triton", "127.0.0.1:{free}"], FAILED, "cannot be reached (connection refused)"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path,
    triton: Server,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("v.mp4", "w.mp4"):
        write_video(tmp_path / name, [(1.0, DARK)])
    told = [text.format(free=free_port()) for text in arguments]
    if "--triton" not in told:
        told += ["--triton", triton.address]
    failure = CliRunner().invoke(app, ["replay", *told, "--out", "run"]).exception  # main() makes a line of it
    assert isinstance(failure, MistwatchError), failure
    assert failure.exit_status == status
    assert problem in str(failure)
    assert "\n" not in str(failure)
