"""The page of the users, and the link to a film that opens without a login, in a real browser."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import chromium
import console_scene as made
import pytest
from brokers import TestBroker
from guarded_console import write_users

from pipeline.access_settings import AccessSettings
from pipeline.alerts.evidence import encode_jpeg
from pipeline.console.access.users import read_users
from pipeline.console.readers import Topics
from pipeline.console.serving import Console

PASSWORD = "correct horse battery"
READY = "document.querySelector('#main')?.dataset.ready"
CHECKS = Path(chromium.__file__).with_name("page_checks.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = {"vera": ("viewer", PASSWORD), "otto": ("operator", PASSWORD), "anna": ("admin", PASSWORD)}
    return write_users(tmp_path_factory.mktemp("users") / "users.yaml", **people)


@pytest.fixture(scope="module")
def guarded(
    console_broker: TestBroker, scene: made.Scene, evidence: Path, users_file: Path
) -> Iterator[tuple[Console, str]]:
    """A console with users, and the path of an alert's page."""
    folder = evidence / "gate"
    folder.mkdir()
    picture = folder / "peak.jpg"
    picture.write_bytes(encode_jpeg(made.plain_frame(140, 320, 180)))
    (event,) = made.alert("gate", datetime.now(UTC), states=[made.AlertState.BEGIN], evidence=[picture.as_uri()])
    scene.events(event)
    access = AccessSettings(users_file=users_file)
    console = Console(console_broker.bootstrap, Topics(), evidence=evidence, port=0, access=access)
    console.start()
    until = time.monotonic() + 30
    while console.state.alerts.get(str(event.data.alert_id)) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    yield console, f"/alerts/{event.data.alert_id}"
    console.stop()


@pytest.fixture
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium without cookies."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


def log_in(browser: chromium.Chromium, console: Console, name: str, path: str, width: int = 1440) -> chromium.Page:
    page = browser.open(f"{console.url}/login?next={path}", width=width)
    page.evaluate(
        f"document.getElementById('name').value = '{name}';"
        f"document.getElementById('password').value = '{PASSWORD}'; document.querySelector('button').click()"
    )
    page.wait_for(READY)
    return page


def test_an_admin_adds_and_disables_a_user_on_the_page(guarded, users_file, browser):
    console, _ = guarded
    page = log_in(browser, console, "anna", "/users", width=390)
    page.wait_for("document.querySelectorAll('tr[data-user]').length === 3")
    page.evaluate(
        "(() => { const form = document.querySelector('form.fields'); form.elements.name.value = 'eva';"
        " form.elements.role.value = 'operator'; form.querySelector('[type=password]').value = 'a password of eva';"
        " form.requestSubmit(); })()"
    )
    page.wait_for("document.querySelector('tr[data-user=eva]') !== null")
    assert read_users(users_file)["eva"].role == "operator"
    page.evaluate("[...document.querySelectorAll('tr[data-user=eva] button')].at(-1).click()")
    page.wait_for("document.querySelector('tr[data-user=eva]').textContent.includes('disabled')")
    assert read_users(users_file)["eva"].is_disabled
    page.evaluate("[...document.querySelectorAll('tr[data-user=anna] button')].at(-1).click()")
    page.wait_for("document.querySelector('[role=alert]:not([hidden])').textContent.includes('the last admin')")
    assert "argon2" not in page.evaluate("document.documentElement.outerHTML")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    found = page.evaluate(f"({CHECKS})(4.5, 3.0)")
    assert (found["faint"], found["wide"]) == ([], [])


def test_an_operator_copies_a_link_that_opens_without_a_login_and_a_viewer_cannot(guarded, browser):
    console, alert = guarded
    page = log_in(browser, console, "otto", alert)
    page.wait_for("document.querySelector('.share:not([hidden]) button') !== null")
    assert page.evaluate("[...document.querySelectorAll('.top nav a')].every((one) => one.textContent !== 'Users')")
    page.evaluate("document.querySelector('.share button').click()")
    link = page.wait_for("document.querySelector('.share input').value")
    assert "opens without a login until" in page.evaluate("document.querySelector('.share').textContent")
    with urllib.request.urlopen(link, timeout=10) as answer:  # no cookie
        assert answer.read().startswith(b"\xff\xd8")
    assert page.messages == []
    page.evaluate("document.querySelector('.who button').click()")
    page.wait_for("location.pathname === '/login' && document.getElementById('name') !== null")
    page = log_in(browser, console, "vera", alert)
    page.wait_for("document.querySelector('.detail') !== null")
    time.sleep(0.5)
    assert page.evaluate("document.querySelector('.share').hidden")
