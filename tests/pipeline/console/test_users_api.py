"""Users and signed links over the console's API, on a real server: who may do what, and what it changes at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from guarded_console import write_users
from structlog.testing import capture_logs

from pipeline.access_settings import AccessSettings
from pipeline.console.access.users import read_users
from pipeline.console.readers import Topics
from pipeline.console.serving import Console

PASSWORD, ANOTHER = "correct horse battery", "another long password"
USERS = {"vera": ("viewer", PASSWORD), "otto": ("operator", PASSWORD), "anna": ("admin", PASSWORD)}
FILM = bytes(range(256)) * 40


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.yaml", **USERS)


@pytest.fixture
def console(tmp_path: Path, users_file: Path) -> Iterator[Console]:
    """A console with users and a film, whose broker is away."""
    (tmp_path / "evidence" / "gate").mkdir(parents=True)
    (tmp_path / "evidence" / "gate" / "a film.mp4").write_bytes(FILM)
    (tmp_path / "secret.mp4").write_bytes(b"outside")
    access = AccessSettings(users_file=users_file)
    served = Console("127.0.0.1:1", Topics(), evidence=tmp_path / "evidence", port=0, access=access)
    served.start()
    yield served
    served.stop()


def log_in(browser: httpx.Client, name: str, password: str = PASSWORD) -> int:
    status = browser.post("/login", data={"name": name, "password": password}).status_code
    if status == 303:
        browser.headers["x-csrf-token"] = browser.get("/api/session").json()["csrf_token"]
    return status


@contextmanager
def user(console: Console, name: str | None, password: str = PASSWORD) -> Iterator[httpx.Client]:
    """Yield the browser of a user who has logged in; None: of a stranger."""
    with httpx.Client(
        base_url=console.url, headers={"origin": console.url}, timeout=120, trust_env=False, verify=False
    ) as browser:
        if name is not None:
            assert log_in(browser, name, password) == 303
        yield browser


def test_an_admin_sees_the_users_without_their_hashes(console: Console, users_file: Path) -> None:
    with user(console, "anna") as anna:
        answer = anna.get("/api/users")
    assert [(one["name"], one["role"], one["is_disabled"], one["is_you"]) for one in answer.json()["users"]] == [
        ("anna", "admin", False, True),
        ("otto", "operator", False, False),
        ("vera", "viewer", False, False),
    ]
    assert not any(one.hash in answer.text or "argon2" in answer.text for one in read_users(users_file).values())


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("vera", 403), ("otto", 403)])
def test_others_than_admins_neither_see_nor_change_users(console, users_file, name, status) -> None:
    before = users_file.read_text()
    with user(console, name) as browser:
        token = {} if name else {"x-csrf-token": "none"}
        body = {"name": "eve", "role": "admin", "password": ANOTHER}
        assert browser.get("/api/users").status_code == status
        assert browser.post("/api/users", json=body, headers=token).status_code == status
        assert browser.patch("/api/users/vera", json={"role": "admin"}, headers=token).status_code == status
        assert browser.get("/users").status_code == (303 if name is None else 403)
    assert users_file.read_text() == before


def test_a_user_is_added_and_can_log_in(console: Console, users_file: Path) -> None:
    with user(console, "anna") as anna, user(console, None) as new, capture_logs() as lines:
        body = {"name": "Søren", "role": "operator", "password": ANOTHER}
        answer = anna.post("/api/users", json=body)
        assert answer.status_code == 201
        assert answer.json() == {"name": "Søren", "role": "operator", "is_disabled": False, "is_you": False}
        again = anna.post("/api/users", json=body)
        assert (again.status_code, "there is one of this name" in again.json()["detail"]) == (409, True)
        assert log_in(new, "Søren", ANOTHER) == 303
        assert new.get("/api/session").json()["role"] == "operator"
    (added,) = [one for one in lines if one["event"] == "console user changed"]
    assert (added["changed"], added["user"], added["change"]) == ("Søren", "anna", "added as operator")
    logged = json.dumps(lines, default=str)
    assert ANOTHER not in logged
    assert read_users(users_file)["Søren"].hash not in logged


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "eve", "password": "short"}, "password: 5 characters; expected 12 to 1024"),
        ({"name": "../eve", "password": ANOTHER}, "a name begins with a letter or digit"),
        ({"name": "eve", "password": ANOTHER, "role": "king"}, "role: Input should be 'viewer', 'operator' or 'admin'"),
        ({"name": "eve", "password": ANOTHER, "hash": "x"}, "hash: Extra inputs are not permitted"),
    ],
)
def test_a_user_that_cannot_be_is_refused_in_one_sentence(console, users_file, body, words) -> None:
    before = users_file.read_text()
    with user(console, "anna") as anna:
        answer = anna.post("/api/users", json=body)
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])
    assert words in answer.json()["detail"]
    assert ANOTHER not in answer.text
    assert users_file.read_text() == before


def test_a_disabled_user_loses_the_session_and_cannot_log_in_until_enabled(console, users_file) -> None:
    with user(console, "anna") as anna, user(console, "vera") as vera:
        assert vera.get("/api/cameras").status_code == 200
        answer = anna.patch("/api/users/vera", json={"is_disabled": True})
        assert (answer.status_code, answer.json()["is_disabled"]) == (200, True)
        assert vera.get("/api/cameras").status_code == 401
        assert log_in(vera, "vera") == 401
        assert read_users(users_file)["vera"].role == "viewer"
        assert anna.patch("/api/users/vera", json={"is_disabled": False}).json()["is_disabled"] is False
        assert log_in(vera, "vera") == 303
        assert vera.get("/api/cameras").status_code == 200


def test_another_role_or_password_ends_the_sessions_of_the_user_alone(console: Console) -> None:
    with user(console, "anna") as anna, user(console, "vera") as vera, user(console, "otto") as otto:
        assert anna.patch("/api/users/vera", json={"role": "operator"}).json()["role"] == "operator"
        assert vera.get("/api/cameras").status_code == 401
        assert log_in(vera, "vera") == 303
        assert vera.get("/api/session").json()["role"] == "operator"
        assert anna.patch("/api/users/vera", json={"password": ANOTHER}).status_code == 200
        assert vera.get("/api/cameras").status_code == 401
        assert log_in(vera, "vera") == 401
        assert log_in(vera, "vera", ANOTHER) == 303
        assert otto.get("/api/cameras").status_code == anna.get("/api/cameras").status_code == 200
        assert anna.patch("/api/users/nemo", json={"role": "admin"}).status_code == 404


@pytest.mark.parametrize("change", [{"role": "operator"}, {"is_disabled": True}])
def test_the_last_admin_stays_one(console: Console, users_file: Path, change: dict[str, object]) -> None:
    with user(console, "anna") as anna:
        answer = anna.patch("/api/users/anna", json=change)
        assert answer.status_code == 409
        assert "the last admin" in answer.json()["detail"]
        assert anna.patch("/api/users/otto", json={"role": "admin"}).status_code == 200
        assert anna.patch("/api/users/anna", json=change).status_code == 200
    assert read_users(users_file)["otto"].role == "admin"


def test_a_console_without_users_says_so() -> None:
    console = Console("127.0.0.1:1", Topics(), port=0)
    console.start()
    try:
        with user(console, None) as browser:
            answer = browser.get("/api/users")
        assert (answer.status_code, answer.json()) == (
            409,
            {"detail": "this console has no file of users; set console.users_file to have one"},
        )
    finally:
        console.stop()


def test_a_link_opens_one_file_without_a_login_until_it_ends(console: Console) -> None:
    with user(console, "otto") as otto, user(console, None) as stranger:
        answer = otto.post("/api/links", json={"url": "/evidence/gate/a%20film.mp4"})
        assert answer.status_code == 201
        url = answer.json()["url"]
        assert stranger.get("/evidence/gate/a%20film.mp4").status_code == 401
        found = stranger.get(url)
        assert (found.status_code, found.content, found.headers["content-type"]) == (200, FILM, "video/mp4")
        assert stranger.get(url, headers={"range": "bytes=256-259"}).content == FILM[256:260]
        assert stranger.get(url.replace("a%20film", "b%20film")).status_code == 401
        assert stranger.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 401
        assert stranger.get(f"/api/alerts?{url.partition('?')[2]}").status_code == 401
        short = otto.post("/api/links", json={"url": "/evidence/gate/a%20film.mp4", "hours": 0.0006}).json()["url"]
        until = time.monotonic() + 20
        while stranger.get(short).status_code != 401:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert stranger.get(url).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "/evidence/gate/gone.mp4"}, 404),
        ({"url": "/evidence/../secret.mp4"}, 404),
        ({"url": "/evidence/%2e%2e/secret.mp4"}, 404),
        ({"url": "/evidence/gate/..%2f..%2fsecret.mp4"}, 404),
        ({"url": "/api/users"}, 422),
        ({"url": "https://evil.example/evidence/gate/a%20film.mp4"}, 422),
        ({"url": "/evidence/gate/a%20film.mp4", "hours": 0}, 422),
        ({"url": "/evidence/gate/a%20film.mp4", "hours": 1000}, 422),
    ],
)
def test_nothing_else_gets_a_link(console: Console, body: dict[str, object], status: int) -> None:
    with user(console, "otto") as otto:
        answer = otto.post("/api/links", json=body)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


def test_a_viewer_makes_no_links(console: Console) -> None:
    with user(console, "vera") as vera:
        assert vera.post("/api/links", json={"url": "/evidence/gate/a%20film.mp4"}).status_code == 403
