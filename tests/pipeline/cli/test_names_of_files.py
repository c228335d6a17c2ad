"""Names of any script, and names that are not UTF-8, through whole commands: events, pictures, runs, manifests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import av
import pytest
from kafka import KafkaConsumer, TopicPartition
from replays import contents
from site_runs import BRIGHT, DARK, start_run, write_site, write_video
from triton_of_brightness import Server

from pipeline.manifests.manifest import read_manifest

pytestmark = pytest.mark.realparts

SCENE = [(2.0, DARK), (2.0, BRIGHT), (2.0, DARK)]
#: The two forms of one name.
COMPOSED, DECOMPOSED = "Zufahrt-S\u00fcd", "Zufahrt-Su\u0308d"
NOT_UTF_8 = os.fsdecode(b"caf\xe9.mp4")


def mistwatch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.cli", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def keys_on(broker: str, topic: str) -> list[str]:
    """The keys of a topic of one partition."""
    consumer = KafkaConsumer(bootstrap_servers=broker)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    consumer.seek_to_beginning()
    keys: list[str] = []
    while consumer.position(partition) < end:
        keys += [message.key.decode() for message in consumer.poll(1000).get(partition, [])]
    consumer.close()
    return keys


@pytest.fixture
def films(tmp_path: Path) -> dict[str, Path]:
    """One film under the names that people have, by the name of the camera."""
    folder = tmp_path / "films"
    folder.mkdir()
    film = write_video(tmp_path / "film.mp4", SCENE)
    names = {"監視カメラ": "監視カメラ.mp4", COMPOSED: f"{DECOMPOSED}.mp4", "caf-xe9": NOT_UTF_8}
    return {name: Path(shutil.copy(film, folder / file)) for name, file in names.items()}


def check_pictures(events: list[dict], folder: Path) -> None:
    """Every alert has a picture, in a folder of its camera's name."""
    for event in events:
        camera = event["data"]["camera"]
        for uri in event["data"]["evidence"]:
            picture = Path(unquote(urlparse(uri).path))
            assert picture.is_file()
            assert picture.parent == (folder / "evidence" / camera).resolve()
    assert {event["data"]["camera"] for event in events if event["data"]["evidence"]} == {
        event["data"]["camera"] for event in events
    }


def test_watch_calls_cameras_by_their_names_and_says_which_is_which(
    films: dict[str, Path], tmp_path: Path, triton: Server, broker: str
) -> None:
    topic = f"t{tmp_path.name}"
    done = mistwatch(
        *("watch", *films.values(), "--json", "--out", tmp_path / "run", "--topic", topic),
        *("--triton", triton.address, "--kafka", broker),
    )
    assert done.returncode == 0, done.stderr
    *events, summary = map(json.loads, done.stdout.splitlines())
    assert (summary["cameras"], summary["alerts"]) == (3, 3)
    assert {event["subject"] for event in events} == set(films)
    check_pictures(events, tmp_path / "run")
    assert sorted(keys_on(broker, topic)) == sorted(event["subject"] for event in events)
    legend = [line for line in done.stderr.splitlines() if line.startswith("camera ")]
    assert legend == [
        f"camera 監視カメラ: {films['監視カメラ']}",
        f"camera {COMPOSED}: {films[COMPOSED]}",
        f"camera caf-xe9: {tmp_path}/films/caf\\udce9.mp4",
    ]


def test_a_site_with_names_of_any_script(films: dict[str, Path], tmp_path: Path, triton: Server, broker: str) -> None:
    """The name in the file may be in another form than the one that is used."""
    cameras = f"  監視カメラ: {{source: '{films['監視カメラ']}'}}\n  {DECOMPOSED}: {{source: '{films[COMPOSED]}'}}\n"
    config = write_site(tmp_path, triton.address, broker, cameras)
    checked = mistwatch("config", "check", config)
    assert checked.returncode == 0, checked.stderr
    assert f"camera 監視カメラ: {films['監視カメラ']}" in checked.stdout.splitlines()
    process = start_run(config)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    *events, _summary = map(json.loads, output.splitlines())
    assert {event["subject"] for event in events} == {"監視カメラ", COMPOSED}
    check_pictures(events, tmp_path / "state")
    assert set(keys_on(broker, f"t{tmp_path.name}")) == {"監視カメラ", COMPOSED}
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    legend = {line["camera"]: line["source"] for line in lines if line["event"] == "camera"}
    assert legend == {"監視カメラ": str(films["監視カメラ"]), COMPOSED: str(films[COMPOSED])}


def test_the_legend_of_a_site_shows_no_credentials(tmp_path: Path, triton: Server, broker: str) -> None:
    cameras = (
        "  front: {source: 'rtsp://admin:hunter2@192.0.2.1/live?channel=1'}\n"
        "  back: {source: 'rtsp://192.0.2.1/live?loginuse=admin&loginpas=hunter2&channel=2'}\n"
    )
    checked = mistwatch("config", "check", write_site(tmp_path, triton.address, broker, cameras))
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[1:] == [
        "camera front: rtsp://***@192.0.2.1/live?channel=1",
        "camera back: rtsp://192.0.2.1/live?loginuse=***&loginpas=***&channel=2",
    ]


def test_a_replay_of_a_name_that_is_not_utf_8_is_annotated_and_judged(
    films: dict[str, Path], tmp_path: Path, triton: Server
) -> None:
    """Also into a folder of such a name; the scores do not depend on it."""
    run = tmp_path / os.fsdecode(b"run \xe9")
    arguments = ("--triton", triton.address, "--annotate", "--json")
    done = mistwatch("replay", films["caf-xe9"], "--out", run, *arguments)
    assert done.returncode == 0, done.stderr
    *events, summary = map(json.loads, done.stdout.splitlines())
    assert (summary["recordings"], summary["failed"], summary["alerts"]) == (1, 0, 1)
    assert {event["subject"] for event in events} == {"caf\\xe9"}
    (annotated,) = (run / "annotated").iterdir()
    with av.open(str(annotated)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 60
    again = mistwatch("replay", films["caf-xe9"], "--out", run, *arguments)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["kept"] == 1
    other = mistwatch("replay", films["caf-xe9"], "--out", tmp_path / "other", *arguments)
    assert other.returncode == 0, other.stderr
    assert contents(run) == contents(tmp_path / "other")


def test_a_data_set_of_such_names(films: dict[str, Path], tmp_path: Path, triton: Server) -> None:
    """Manifest, replay with a report, and comparison; a folder's name becomes a group."""
    folder = tmp_path / os.fsdecode(b"set \xe9")
    for part, name in (("normal", "a.mp4"), ("normal", NOT_UTF_8), ("abnormal", f"{NOT_UTF_8[:-4]}/駐車場.mp4")):
        (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(films["監視カメラ"], folder / part / name)
    manifest = folder / "manifest.jsonl"
    done = mistwatch("manifest", "folder", folder, "--out", manifest)
    assert done.returncode == 0, done.stderr
    found = read_manifest(manifest)
    assert [video.path for video in found] == [
        folder / "normal/a.mp4", folder / "normal" / NOT_UTF_8, folder / "abnormal" / NOT_UTF_8[:-4] / "駐車場.mp4"
    ]  # fmt: skip
    assert found[2].group == "caf\\xe9"
    printed = mistwatch("manifest", "folder", folder)
    (tmp_path / "printed.jsonl").write_text(printed.stdout)
    assert [video.path for video in read_manifest(tmp_path / "printed.jsonl")] == [video.path for video in found]
    judged = mistwatch("evaluate", manifest, "--out", tmp_path / "run", "--triton", triton.address)
    assert judged.returncode == 0, judged.stderr
    report = (tmp_path / "run" / "report.html").read_text()
    assert "駐車場" in report
    assert "no pictures" not in report
    compared = mistwatch("compare", tmp_path / "run", tmp_path / "run")
    assert compared.returncode == 0, compared.stderr
