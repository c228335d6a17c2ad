"""Logins and sessions on a real server: limits, rotation, and the end of a session by each of its reasons."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from guarded_console import Console, guarded, write_users
from structlog.testing import capture_logs

from pipeline.access_settings import AccessSettings
from pipeline.console.access.login_limits import NAME_SECONDS
from pipeline.console.access.passwords import hash_password

PASSWORD = "correct horse battery"
USERS = {"vera": ("viewer", PASSWORD), "anna": ("admin", PASSWORD)}


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.yaml", **USERS)


@pytest.fixture
def console(users_file: Path) -> Iterator[Console]:
    """A console that takes a client's address from X-Forwarded-For, so that a test has several."""
    with guarded(AccessSettings(users_file=users_file, proxies=("127.0.0.1",))) as console:
        yield console


def log_in(browser: httpx.Client, name: str, password: str, address: str = "192.0.2.1") -> httpx.Response:
    return browser.post("/login", data={"name": name, "password": password}, headers={"x-forwarded-for": address})


def is_in(browser: httpx.Client) -> bool:
    return browser.get("/api/session").status_code == 200


def test_the_cookie_on_loopback_is_closed_to_scripts_and_to_other_sites(console: Console) -> None:
    with console.browser() as browser:
        cookie = log_in(browser, "vera", PASSWORD).headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    identity, *attributes = rest.split("; ")
    assert name == "mistwatch"
    assert len(identity) == 43  # 256 bits in base64
    assert {each.lower() for each in attributes} == {"httponly", "path=/", "samesite=strict"}


def test_a_login_ends_the_browsers_earlier_session_and_takes_no_id_from_the_browser(console: Console) -> None:
    with console.browser() as browser:
        browser.cookies.set("mistwatch", "chosen-by-the-attacker", domain="127.0.0.1", path="/")
        log_in(browser, "vera", PASSWORD)
        first = browser.cookies["mistwatch"]
        assert first != "chosen-by-the-attacker"
        log_in(browser, "vera", PASSWORD)
        assert browser.cookies["mistwatch"] != first
    with console.browser(cookie=f"mistwatch={first}") as thief:
        assert not is_in(thief)


def test_a_login_needs_the_consoles_own_origin(console: Console) -> None:
    with console.browser(origin="https://evil.example") as browser:
        assert log_in(browser, "vera", PASSWORD).status_code == 403


def test_a_logout_needs_the_token_and_ends_the_session(console: Console) -> None:
    with console.logged_in("vera", PASSWORD) as browser:
        identity, token = browser.cookies["mistwatch"], browser.headers.pop("x-csrf-token")
        assert browser.post("/logout").status_code == 403
        assert browser.post("/logout", data={"csrf_token": "wrong"}).status_code == 403
        assert is_in(browser)
        answer = browser.post("/logout", data={"csrf_token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "mistwatch" not in browser.cookies
    with console.browser(cookie=f"mistwatch={identity}") as thief:
        assert not is_in(thief)


def test_an_idle_session_ends_and_a_used_one_ends_at_its_greatest_age(console: Console) -> None:
    with console.logged_in("vera", PASSWORD) as idle, console.logged_in("anna", PASSWORD) as used:
        for _ in range(12 * 2 - 1):
            console.clock.now += 1800
            assert used.get("/api/alerts").status_code == 200
        assert not is_in(idle)
        console.clock.now += 1800
        assert not is_in(used)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"anna": ("admin", PASSWORD)}, False),
        ({**USERS, "vera": ("operator", PASSWORD)}, False),
        ({**USERS, "vera": ("viewer", "another long password")}, False),
        (None, True),
    ],
    ids=["removed", "role", "password", "another user"],
)
def test_a_changed_user_loses_the_session(
    console: Console, users_file: Path, change: dict[str, tuple[str, str]] | None, kept: bool
) -> None:
    with console.logged_in("vera", PASSWORD) as browser:
        if change is None:  # the hash of vera must stay
            users_file.write_text(users_file.read_text().replace("  anna:", "  bert:"))
        else:
            write_users(users_file, **change)
        assert is_in(browser) is kept


def test_a_broken_users_file_serves_no_login_and_ends_no_session(console: Console, users_file: Path) -> None:
    with console.logged_in("vera", PASSWORD) as browser, capture_logs() as lines:
        good = users_file.read_bytes()
        for broken in (b"", b"users: [", b"users: {vera: {role: viewer, hash: $argon2id$secret-of-vera}}"):
            users_file.write_bytes(broken)
            answer = browser.get("/api/alerts")
            assert (answer.status_code, "secret-of-vera" in answer.text) == (503, False)
            assert log_in(browser, "vera", PASSWORD).status_code == 503
        users_file.unlink()
        assert browser.get("/api/alerts").status_code == 503
        users_file.write_bytes(good)
        assert is_in(browser)
    assert len(lines) == 4
    assert "secret-of-vera" not in str(lines)


def test_a_stream_of_events_ends_with_its_session(console: Console, users_file: Path) -> None:
    with console.logged_in("vera", PASSWORD) as browser, browser.stream("GET", "/api/stream") as stream:
        events = stream.iter_text()
        assert "tick" in next(events)
        write_users(users_file, anna=("admin", PASSWORD))
        deadline = time.monotonic() + 10
        for _ in events:
            assert time.monotonic() < deadline


def test_the_thousandth_try_is_delayed_and_the_user_still_gets_in_from_another_address(console: Console) -> None:
    statuses = []
    with console.browser() as attacker, console.browser() as user:
        for number in range(1000):
            console.clock.now += 0.05
            answer = log_in(attacker, "vera", f"guess {number}")
            statuses.append(answer.status_code)
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 3 + 6  # 50 s: free tries, then delays of 1, 2, 4, 8, 16 s
        assert 0 < int(answer.headers["retry-after"]) <= 300
        assert log_in(attacker, "vera", PASSWORD).status_code == 429
        assert log_in(user, "vera", PASSWORD, "198.51.100.7").status_code in {303, 429}
        console.clock.now += NAME_SECONDS
        assert log_in(user, "vera", PASSWORD, "198.51.100.7").status_code == 303
        assert len(console.access.limits) <= 4


def test_tries_at_a_name_from_many_addresses_are_delayed_and_a_known_address_is_not(console: Console) -> None:
    with console.browser() as browser:
        assert log_in(browser, "vera", PASSWORD, "198.51.100.7").status_code == 303
        statuses = [log_in(browser, "vera", "guess", f"10.0.0.{number}").status_code for number in range(50)]
        assert (statuses.count(401), statuses.count(429)) == (3, 47)
        assert log_in(browser, "vera", PASSWORD, "198.51.100.7").status_code == 303


def test_parallel_tries_do_not_pass_the_limit_together(console: Console) -> None:
    statuses: list[int] = []

    def guess() -> None:
        with console.browser() as browser:
            statuses.append(log_in(browser, "vera", "guess").status_code)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(statuses), statuses.count(401)) == (12, 3)


@pytest.mark.alone
def test_a_name_without_a_user_costs_what_a_user_costs(console: Console, users_file: Path) -> None:
    """With the product's own hash: the median of some tries, which differ by less than half on a busy machine."""
    hashed = hash_password(PASSWORD)
    users_file.write_text(f"users: {{vera: {{role: viewer, hash: '{hashed}'}}}}")
    spans: dict[str, list[float]] = {"vera": [], "unknown-name": []}
    with console.browser() as browser:
        for _ in range(5):
            for name, found in spans.items():
                console.clock.now += 4000.0
                began = time.perf_counter()
                assert log_in(browser, name, "guess").status_code == 401
                found.append(time.perf_counter() - began)
    known, unknown = (statistics.median(each) for each in spans.values())
    assert 0.5 < unknown / known < 2.0
    assert known > 0.02


def test_logins_are_logged_without_passwords_and_without_unknown_names(console: Console) -> None:
    with console.browser() as browser, capture_logs() as lines:
        log_in(browser, "vera", "hunter2-wrong")
        log_in(browser, "my-Password-typed-as-name", "x")
        log_in(browser, "vera", PASSWORD)
        browser.headers["x-csrf-token"] = browser.get("/api/session").json()["csrf_token"]
        browser.post("/logout")
    assert [(line["event"], line["user"]) for line in lines] == [
        ("console login failed", "vera"),
        ("console login failed", "(unknown name)"),
        ("console login", "vera"),
        ("console logout", "vera"),
    ]
    assert [line["address"] for line in lines] == ["192.0.2.1", "192.0.2.1", "192.0.2.1", "127.0.0.1"]
    for secret in ("hunter2", "my-Password", PASSWORD):
        assert secret not in str(lines)


@pytest.mark.parametrize("body", [b"", b"name", b"name=%00%ff&password=%ff", b"&" * 100, "né=1".encode(), b"{}"])
def test_odd_forms_are_wrong_logins(console: Console, body: bytes) -> None:
    with console.browser() as browser:
        answer = browser.post("/login", content=body)
        assert answer.status_code == 401
        assert "The name or the password is wrong." in answer.text


def test_a_form_of_any_length_is_not_read_to_its_end(console: Console) -> None:
    with console.browser() as browser:
        assert browser.post("/login", content=b"name=" + b"x" * 100_000).status_code == 413


def test_an_odd_name_is_shown_escaped(console: Console) -> None:
    with console.browser() as browser:
        answer = log_in(browser, '"><script>alert(1)</script>', "x")
        assert "<script" not in answer.text
        assert "alert(1)" not in answer.text
