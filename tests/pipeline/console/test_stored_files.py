"""The console passes objects of the store on: in ranges, confined, and with one line where one is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import object_stores
import pytest
from ports import free_port
from starlette.testclient import TestClient

from pipeline import logs
from pipeline.alerts.object_store import StoreAddress
from pipeline.console.api import ConsoleParts
from pipeline.console.app import create_app
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.readers import Topics
from pipeline.console.serving import Console
from pipeline.console.state import ConsoleState
from pipeline.console.stored_files import wanted_range

FILM = bytes(range(256)) * 40
KEY = "courtyard/north/gate/film.mp4"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_stores.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_stores.SECRET_KEY)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_stores.serving_s3() as endpoint:
        yield endpoint


@pytest.fixture
def files(server: str, tmp_path: Path) -> EvidenceFiles:
    file = tmp_path / "film"
    file.write_bytes(FILM)
    store = object_stores.store_at(server)
    store.put(KEY, file)
    store.put("courtyard/north/gate/notes.txt", file)
    (tmp_path / "evidence").mkdir()
    return EvidenceFiles(tmp_path / "evidence", store, "courtyard")


@pytest.fixture
def client(files: EvidenceFiles) -> Iterator[TestClient]:
    with TestClient(create_app(ConsoleParts(ConsoleState(), files))) as client:
        yield client


def test_a_film_is_served_whole_and_in_ranges(client: TestClient) -> None:
    whole = client.get(f"/evidence/{KEY}")
    assert (whole.status_code, whole.content) == (200, FILM)
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get(f"/evidence/{KEY}", headers={"range": "bytes=256-511"})
    assert (part.status_code, part.content) == (206, bytes(range(256)))
    assert part.headers["content-range"] == f"bytes 256-511/{len(FILM)}"
    assert client.get(f"/evidence/{KEY}", headers={"range": "bytes=-3"}).content == FILM[-3:]
    many = "bytes=" + ",".join(f"{at}-{at}" for at in range(100))
    assert client.get(f"/evidence/{KEY}", headers={"range": many}).content == FILM
    beyond = client.get(f"/evidence/{KEY}", headers={"range": "bytes=99999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(FILM)}")


def test_an_object_that_is_gone_is_one_line(client: TestClient) -> None:
    answer = client.get("/evidence/courtyard/north/gate/gone.mp4")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "this evidence is gone: it was removed from the store, or is not there yet"}


@pytest.mark.parametrize(
    "path",
    [
        "courtyard/north/gate/notes.txt",
        "courtyard/north/../gate/film.mp4",
        "film.mp4",
        "courtyard/b/c/d/film.mp4",
        "courtyard/b/.c/d.mp4",
        "backyard/north/gate/film.mp4",
    ],
)
def test_nothing_but_evidence_below_the_prefix_is_asked_for(client: TestClient, path: str) -> None:
    answer = client.get(f"/evidence/{path}".replace("..", "%2e%2e"))
    assert answer.status_code == 404
    assert "was never here" in answer.text


def test_an_alert_of_the_store_has_an_address_and_one_of_another_store_has_none(files: EvidenceFiles) -> None:
    picture = "s3://evidence/site/courtyard/north/gate/peak.jpg"
    assert files.pictures((picture,)) == ["/evidence/courtyard/north/gate/peak.jpg"]
    assert files.state((picture,)) == "there"
    assert files.pictures(("s3://secrets/site/courtyard/north/gate/peak.jpg",)) == []
    assert files.pictures(("s3://evidence/site/courtyard/north/../../../peak.jpg",)) == []


def test_a_file_that_is_still_in_the_folder_is_served_from_there(files: EvidenceFiles, tmp_path: Path) -> None:
    (tmp_path / "evidence" / "gate").mkdir()
    (tmp_path / "evidence" / "gate" / "peak.jpg").write_bytes(b"x")
    assert files.pictures(("s3://evidence/site/courtyard/north/gate/peak.jpg",)) == ["/evidence/gate/peak.jpg"]


def test_a_store_that_is_away_is_one_line(tmp_path: Path) -> None:
    files = EvidenceFiles(None, object_stores.store_at(f"http://127.0.0.1:{free_port()}"))
    with TestClient(create_app(ConsoleParts(ConsoleState(), files))) as client:
        answer = client.get(f"/evidence/{KEY}")
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith("evidence store s3://evidence/site: no connection")


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=5-2", "bytes=1-2,4-5", "lines=1-2"])
def test_a_range_that_is_none_is_ignored(header: str | None) -> None:
    assert wanted_range(header, 10) is None


def test_a_range_beyond_the_end_is_refused_and_one_over_it_is_cut() -> None:
    with pytest.raises(ValueError, match="beyond"):
        wanted_range("bytes=10-", 10)
    assert wanted_range("bytes=8-99", 10) == (8, 10)


def test_a_store_that_dies_in_mid_answer_ends_it_with_one_line(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Over a real server: the browser sees that bytes are missing, and the console goes on."""
    film = tmp_path / "long.mp4"
    film.write_bytes(bytes(40 << 20))  # more than the buffers between them hold
    object_stores.store_at(server).put(KEY, film)
    logs.configure("json", "info")
    with object_stores.Passing(server) as way:
        address = StoreAddress("s3://evidence/site", way.endpoint)
        console = Console(f"127.0.0.1:{free_port()}", Topics(), site="courtyard", store=address, port=0)
        console.start()
        try:
            with httpx.stream("GET", f"{console.url}/evidence/{KEY}", timeout=60) as answer:
                assert (answer.status_code, answer.headers["content-length"]) == (200, str(40 << 20))
                pieces = answer.iter_raw(1 << 16)
                next(pieces)
                way.cut()
                with pytest.raises(httpx.RemoteProtocolError):
                    for _ in pieces:
                        pass
            again = httpx.get(f"{console.url}/evidence/{KEY}", timeout=60)
        finally:
            console.stop()
    assert (again.status_code, "no connection" in again.text) == (502, True)
    written = "".join(capfd.readouterr()) + caplog.text  # the web server's own log is in the latter
    assert written.count("evidence broke off on its way to a browser") == 1
    assert "Traceback" not in written
    assert "ASGI" not in written
    for secret in (object_stores.ACCESS_KEY, object_stores.SECRET_KEY):
        assert secret not in written
        assert secret not in again.text
