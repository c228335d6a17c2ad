"""The guard on a real server: who may do what, from where, and what every answer carries."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from certificates import Authority
from guarded_console import Console, guarded, inner, write_users
from structlog.testing import capture_logs

from pipeline.access_settings import AccessSettings
from pipeline.console.access import protect

PASSWORD = "correct horse battery"
USERS = {"vera": ("viewer", PASSWORD), "otto": ("operator", PASSWORD), "anna": ("admin", PASSWORD)}


@pytest.fixture(scope="module")
def open_console() -> Iterator[Console]:
    with guarded(AccessSettings(names=("yard.example",))) as console:
        yield console


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.yaml", **USERS)


@pytest.fixture
def console(users_file: Path) -> Iterator[Console]:
    with guarded(AccessSettings(users_file=users_file)) as console:
        yield console


def ask(console: Console, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """Send a request with exactly these headers: httpx would normalise the path."""
    connection = http.client.HTTPConnection(urlsplit(console.url).netloc, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    return connection.getresponse()


def token(console: Console) -> str:
    with console.browser() as browser:
        return str(browser.get("/api/session").json()["csrf_token"])


def test_loopback_without_users_needs_no_login_and_the_user_is_an_admin(open_console: Console) -> None:
    with open_console.browser() as browser:
        assert browser.get("/").json() == {"name": "local", "role": "admin", "method": "GET"}
        browser.headers["x-csrf-token"] = token(open_console)
        assert browser.post("/api/cameras").json()["method"] == "POST"
        assert browser.get("/login").headers["location"] == "/"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("LOCALHOST:8400", 200),
        ("[::1]:8400", 200),
        ("yard.example", 200),
        ("yard.example.", 200),
        ("evil.example", 421),
        ("192.168.1.5", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("user@127.0.0.1", 421),
        ("", 421),
    ],
)
def test_a_loopback_console_answers_to_its_own_names_only(open_console: Console, host: str, status: int) -> None:
    assert ask(open_console, "GET", "/api/cameras", Host=host).status == status


def test_probes_answer_to_every_name(open_console: Console) -> None:
    assert ask(open_console, "GET", "/healthz", Host="10.1.2.3:8400").status == 200
    assert ask(open_console, "POST", "/healthz", Host="10.1.2.3:8400").status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "{own}"}, 200),
        ({"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "{tls}"}, 403),
        ({"Origin": "{own}", "Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "{own}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_an_unsafe_request_needs_the_consoles_own_origin(
    open_console: Console, headers: dict[str, str], status: int
) -> None:
    own = {"own": open_console.url, "tls": open_console.url.replace("http", "https")}
    sent = {name: value.format(**own) for name, value in headers.items()}
    secret = token(open_console)
    assert ask(open_console, "POST", "/api/cameras", **{"X-CSRF-Token": secret}, **sent).status == status


@pytest.mark.parametrize("sent", [None, "", "x", "é"])
def test_an_unsafe_request_needs_the_token(open_console: Console, sent: str | None) -> None:
    headers = {"Origin": open_console.url} | ({} if sent is None else {"X-CSRF-Token": sent.encode().decode("latin-1")})
    assert ask(open_console, "POST", "/api/cameras", **headers).status == 403


def test_other_sites_load_neither_pictures_nor_answers(open_console: Console) -> None:
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert [ask(open_console, "GET", "/evidence/a.jpg", **each).status for each in (picture, frame, link)] == [
        403,
        403,
        200,
    ]


def test_a_proxy_in_front_of_a_console_without_login_is_refused(open_console: Console) -> None:
    assert ask(open_console, "GET", "/", X_Forwarded_For="192.0.2.1").status == 403


@pytest.mark.parametrize("path", ["/api/cameras", "/evidence/a.jpg", "/static/wall.js", "/api/stream", "/api/session"])
def test_without_a_session_nothing_is_served(console: Console, path: str) -> None:
    answer = ask(console, "GET", path)
    assert (answer.status, b"Log in first" in answer.read()) == (401, True)


def test_a_page_without_a_session_leads_to_the_login_and_back(console: Console) -> None:
    with console.browser() as browser:
        answer = browser.get("/alerts?camera=gate&page=2")
        assert answer.status_code == 303
        form = browser.get(answer.headers["location"])
        assert 'value="/alerts?camera=gate&amp;page=2"' in form.text
        data = {"name": "vera", "password": PASSWORD, "next": "/alerts?camera=gate&page=2"}
        assert browser.post("/login", data=data).headers["location"] == "/alerts?camera=gate&page=2"
        assert browser.get("/alerts").json()["name"] == "vera"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil", "x"])
def test_the_login_leads_to_no_other_site(console: Console, target: str) -> None:
    with console.browser() as browser:
        answer = browser.post("/login", data={"name": "vera", "password": PASSWORD, "next": target})
        assert answer.headers["location"] == "/"


def test_a_link_from_another_site_gets_the_cookie_by_a_second_request(console: Console) -> None:
    """Browsers keep a SameSite=Strict cookie back from the first."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    answer = ask(console, "GET", '/alerts/7?a="><b>', **link)
    text = answer.read().decode()
    assert answer.status == 200
    assert 'content="0; url=/alerts/7?a=%22%3E%3Cb%3E"' in text
    with console.logged_in("vera", PASSWORD) as browser:
        assert browser.get("/alerts/7", headers={**link, "Sec-Fetch-Site": "same-origin"}).json()["name"] == "vera"


#: Status for viewer, operator, admin.
@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "/api/alerts", (200, 200, 200)),
        ("HEAD", "/evidence/gate/a.jpg", (200, 200, 200)),
        ("GET", "/api/users", (403, 403, 200)),
        ("POST", "/api/judgements", (403, 200, 200)),
        ("PUT", "/api/cameras/gate/thresholds", (403, 200, 200)),
        ("PUT", "/api/cameras/gate/zones", (403, 200, 200)),
        ("PUT", "/api/cameras/gate", (403, 403, 200)),
        ("POST", "/api/cameras", (403, 403, 200)),
        ("DELETE", "/api/cameras/gate", (403, 403, 200)),
        ("DELETE", "/api/users/vera", (403, 403, 200)),
        ("POST", "/api/unheard-of", (403, 403, 403)),
        ("DELETE", "/api/cameras/gate/zones/../..", (403, 403, 403)),
    ],
)
def test_each_role_may_do_what_the_table_says(
    console: Console, method: str, path: str, statuses: tuple[int, int, int]
) -> None:
    found = []
    for name in ("vera", "otto", "anna"):
        with console.logged_in(name, PASSWORD) as browser:
            headers = {"Origin": console.url, "X-CSRF-Token": browser.headers["x-csrf-token"]}
            cookie = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
            found.append(ask(console, method, path, Cookie=cookie, **headers).status)
    assert tuple(found) == statuses


def test_the_session_of_another_user_has_another_token(console: Console) -> None:
    with console.logged_in("anna", PASSWORD) as anna, console.logged_in("vera", PASSWORD) as vera:
        assert anna.post("/api/cameras").status_code == 200
        assert anna.post("/api/cameras", headers={"x-csrf-token": vera.headers["x-csrf-token"]}).status_code == 403


def test_answers_carry_the_headers_in_place_of_the_applications_own(open_console: Console) -> None:
    answer = ask(open_console, "GET", "/api/alerts")
    names = [name.lower() for name, _ in answer.getheaders()]
    assert len(names) == len(set(names))
    assert "server" not in names
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert answer.headers["Strict-Transport-Security"] is None
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    for part in ("frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "connect-src 'self'"):
        assert part in policy
    assert "unsafe" not in policy


def test_scripts_may_be_kept_by_browsers_and_refusals_not(open_console: Console) -> None:
    assert ask(open_console, "GET", "/static/wall.js").headers["Cache-Control"] == "max-age=60"
    refused = ask(open_console, "POST", "/api/cameras")
    assert (refused.headers["Cache-Control"], refused.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_the_login_page_has_neither_inline_scripts_nor_inline_styles(console: Console) -> None:
    with console.browser() as browser:
        page = browser.get("/login")
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert "<script" not in page.text
        assert "style=" not in page.text
        assert "<style" not in page.text
        sheet = browser.get("/login/style.css")
        assert sheet.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path",
    [
        "/evidence/../etc/passwd",
        "/evidence/%2e%2e/etc/passwd",
        "/evidence/%252e%252e/etc/passwd",
        "/evidence//etc/passwd",
        "/evidence/a%5c..%5cb",
        "/evidence/a%00.jpg",
        "/evidence/..%2f..%2fetc/passwd",
        "/evidence/",
    ],
)
def test_paths_of_evidence_stay_in_their_folder(open_console: Console, path: str) -> None:
    assert ask(open_console, "GET", path).status == 404


def test_a_signed_link_opens_its_own_path_without_a_login_until_it_expires(console: Console) -> None:
    link = console.access.links.sign("/evidence/gate süd/a.jpg", int(console.wall.now) + 60)
    answer = ask(console, "GET", link)
    assert (answer.status, b'"role":"viewer"' in answer.read()) == (200, True)
    assert ask(console, "POST", link, Origin=console.url).status == 401
    assert ask(console, "GET", link.replace("a.jpg", "b.jpg")).status == 401
    assert ask(console, "GET", link.replace("/evidence/", "/api/")).status == 401
    assert ask(console, "GET", link.replace("expires=1", "expires=2")).status == 401
    console.wall.now += 60
    assert ask(console, "GET", link).status == 401


def test_a_web_socket_is_refused(open_console: Console) -> None:
    """Handed to the guard itself: the server of the tests has no package for web sockets."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {"type": "websocket", "path": "/api/stream", "headers": [(b"host", b"127.0.0.1")]}
    asyncio.run(protect(inner(), open_console.access)(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_refused_actions_are_logged_with_who_and_where_and_without_the_query(console: Console) -> None:
    with console.logged_in("vera", PASSWORD) as browser, capture_logs() as lines:
        browser.delete("/api/cameras/gate?password=hunter2")
    (line,) = lines
    assert {key: line[key] for key in ("event", "user", "method", "path", "reason", "address")} == {
        "event": "console request denied",
        "user": "vera",
        "method": "DELETE",
        "path": "/api/cameras/gate",
        "reason": "needs the role admin",
        "address": "127.0.0.1",
    }
    assert "hunter2" not in str(line)


def test_with_tls_the_cookie_is_secure_and_browsers_are_held_to_tls(users_file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    made = authority.sign("console", "IP:127.0.0.1")
    settings = AccessSettings(users_file=users_file, certificate=made.certificate, key=made.key)
    with guarded(settings, host="0.0.0.0", ca=authority.ca) as console, console.browser() as browser:
        answer = browser.post("/login", data={"name": "vera", "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-mistwatch=")
        assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
            "httponly",
            "path=/",
            "samesite=strict",
            "secure",
        }
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert browser.get("/").json()["name"] == "vera"
        with pytest.raises(httpx.HTTPError):
            httpx.get(console.url.replace("https", "http"), trust_env=False)


def test_a_console_of_the_network_answers_to_addresses_and_configured_names(users_file: Path) -> None:
    settings = AccessSettings(users_file=users_file, tls_proxy=True, names=("console.example",))
    with guarded(settings, host="0.0.0.0") as console:
        hosts = ("console.example", "192.0.2.7:8400", "[2001:db8::1]", "evil.example")
        assert [ask(console, "GET", "/api/x", Host=host).status for host in hosts] == [401, 401, 401, 421]


def test_addresses_are_taken_from_configured_proxies_only(users_file: Path) -> None:
    for proxies, shown in (((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.9")):
        with (
            guarded(AccessSettings(users_file=users_file, proxies=proxies)) as console,
            capture_logs() as lines,
            console.browser() as browser,
        ):
            headers = {"x-forwarded-for": "192.0.2.9"}
            browser.post("/login", data={"name": "vera", "password": "wrong"}, headers=headers)
            assert [line["address"] for line in lines] == [shown]
