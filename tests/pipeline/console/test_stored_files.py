"""The console passes objects of the store on: in ranges, confined, and with one line where one is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import object_stores
import pytest
from guarded_console import write_users
from ports import free_port
from starlette.testclient import TestClient

from pipeline import logs
from pipeline.access_settings import AccessSettings
from pipeline.alerts.object_store import StoreAddress
from pipeline.console.api import ConsoleParts
from pipeline.console.app import create_app
from pipeline.console.evidence_files import EvidenceFiles
from pipeline.console.readers import Topics
from pipeline.console.serving import Console
from pipeline.console.state import ConsoleState
from pipeline.console.stored_files import AT_ONCE, wanted_range

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


def test_a_range_is_of_the_version_that_the_browser_has_or_the_whole_is_sent(client: TestClient) -> None:
    version = client.get(f"/evidence/{KEY}").headers["etag"]
    part = client.get(f"/evidence/{KEY}", headers={"range": "bytes=256-511", "if-range": version})
    assert (part.status_code, part.content) == (206, bytes(range(256)))
    other = client.get(f"/evidence/{KEY}", headers={"range": "bytes=256-511", "if-range": '"of another version"'})
    assert (other.status_code, other.content) == (200, FILM)


def test_a_signed_link_opens_an_object_that_is_only_in_the_store(server: str, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(FILM)
    object_stores.store_at(server).put(KEY, film)
    users = write_users(tmp_path / "users.yaml", otto=("operator", "correct horse battery"))
    address, access = StoreAddress("s3://evidence/site", server), AccessSettings(users_file=users)
    console = Console(f"127.0.0.1:{free_port()}", Topics(), site="courtyard", store=address, port=0, access=access)
    console.start()
    try:
        with httpx.Client(base_url=console.url, headers={"origin": console.url}, timeout=120, trust_env=False) as otto:
            otto.post("/login", data={"name": "otto", "password": "correct horse battery"})
            otto.headers["x-csrf-token"] = otto.get("/api/session").json()["csrf_token"]
            answer = otto.post("/api/links", json={"url": f"/evidence/{KEY}"})
            assert answer.status_code == 201, answer.text
            foreign = otto.post("/api/links", json={"url": f"/evidence/{KEY.replace('courtyard', 'backyard')}"})
            assert foreign.status_code == 404
        assert httpx.get(f"{console.url}/evidence/{KEY}", timeout=120).status_code == 401
        found = httpx.get(console.url + answer.json()["url"], timeout=120)
        assert (found.status_code, found.content) == (200, FILM)
    finally:
        console.stop()


def test_a_store_that_hangs_leaves_the_console_to_others() -> None:
    """More requests than the web framework has threads: some wait for the store, the others get one line at once."""
    with object_stores.silent_s3() as endpoint:
        files = EvidenceFiles(None, object_stores.store_at(endpoint, answer_seconds=8.0))
        with TestClient(create_app(ConsoleParts(ConsoleState(), files))) as client, ThreadPoolExecutor(60) as browsers:
            asked = [browsers.submit(client.get, f"/evidence/{KEY}") for _ in range(60)]
            time.sleep(1.0)
            began = time.monotonic()
            for path in ("/healthz", "/readyz", "/api/alerts"):
                assert client.get(path).status_code == 200
            assert time.monotonic() - began < 5
            answers = [one.result() for one in asked]
    refused = [one for one in answers if one.status_code == 503]
    assert len(refused) >= 60 - 2 * AT_ONCE
    assert refused[0].json()["detail"].startswith("the evidence store is slow, and too many requests wait for it")
    assert {one.status_code for one in answers} == {502, 503}


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
