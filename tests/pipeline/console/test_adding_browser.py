"""Cameras added on the wall and removed on their page in a real browser, by admins alone; sources stay unseen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import chromium
import console_scene as made
import pytest
from brokers import TestBroker
from guarded_console import write_users

from pipeline.access_settings import AccessSettings
from pipeline.alerts.camera_report import ReportedChange
from pipeline.console.readers import Topics
from pipeline.console.serving import Console
from pipeline.live.audit import Change, change_of

PASSWORD = "correct horse battery"
READY = "document.querySelector('#main')?.dataset.ready"
CHECKS = Path(chromium.__file__).with_name("page_checks.js").read_text(encoding="utf-8")
TOKEN = "t0ken-of-the-yard"
SECONDS = 60.0
PAGES_AND_ANSWERS = """(async () => {
  const texts = [document.documentElement.outerHTML, location.href, JSON.stringify(localStorage)];
  texts.push(JSON.stringify(sessionStorage), JSON.stringify(history.state));
  texts.push(...[...document.querySelectorAll("input")].map((one) => one.value));
  for (const path of ["/", "/cameras/lab", "/api/cameras", "/api/cameras/lab", "/api/cameras/lab/settings"])
    texts.push(await (await fetch(path)).text());
  window.found = texts.join("\\n");
})()"""


@pytest.fixture(scope="module")
def guarded(
    console_broker: TestBroker, scene: made.Scene, evidence: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    """A console with users that knows one camera."""
    people = {"otto": ("operator", PASSWORD), "anna": ("admin", PASSWORD), "vera": ("viewer", PASSWORD)}
    users = write_users(tmp_path_factory.mktemp("users") / "users.yaml", **people)
    access = AccessSettings(users_file=users)
    console = Console(console_broker.bootstrap, Topics(), evidence=evidence, port=0, access=access)
    console.start()
    scene.reports(report("gate"))
    until = time.monotonic() + SECONDS
    while console.state.cameras.get("gate") is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    yield console
    console.stop()


@pytest.fixture
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium without cookies."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


def report(name: str, **more: Any) -> Any:
    return made.report(name, takes_changes="site", heartbeat_seconds=600.0, **{"settings": {}, **more})


def log_in(browser: chromium.Chromium, console: Console, name: str, path: str, width: int = 1440) -> chromium.Page:
    page = browser.open(f"{console.url}/login?next={path}", width=width)
    page.evaluate(
        f"document.getElementById('name').value = '{name}';"
        f"document.getElementById('password').value = '{PASSWORD}'; document.querySelector('button').click()"
    )
    page.wait_for(READY)
    return page


def asked(scene: made.Scene, camera: str) -> tuple[dict[str, Any], Change]:
    """Return the newest message about a camera and its change."""
    record = scene.latest("mistwatch.changes")[f"{made.SITE}/{camera}"]
    change = change_of(record.headers)
    assert change is not None
    return json.loads(record.value or b""), change


def in_force(change: Change) -> ReportedChange:
    return ReportedChange(by=change.by, at=change.at, problem=None)


def type_in(page: chromium.Page, place: int, text: str) -> None:
    """Type into a text field of the open dialog, counted from its top."""
    fields = "document.querySelectorAll('dialog input:not([type=checkbox])')"
    page.evaluate(f"{fields}[{place}].focus(); {fields}[{place}].select()")
    page.call("Input.insertText", text=text)


def press(page: chromium.Page, key: str) -> None:
    code = {"Enter": 13, "Escape": 27}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    page.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
    page.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def problem(page: chromium.Page) -> str:
    return str(page.wait_for("document.querySelector('dialog [role=alert]:not([hidden])')?.textContent"))


def test_an_admin_adds_a_camera_on_the_wall_and_its_source_is_seen_nowhere(guarded, scene, browser):
    page = log_in(browser, guarded, "anna", "/", width=390)
    page.wait_for("!document.querySelector('.add').hidden")
    page.evaluate("document.querySelector('.add').focus()")
    press(page, "Enter")
    page.wait_for("document.querySelector('dialog[open]')?.contains(document.activeElement)")
    press(page, "Escape")  # leaves everything as it was, and the focus where it came from
    page.wait_for("document.querySelector('dialog') === null && document.activeElement.className === 'add'")
    press(page, "Enter")
    fields = "[...document.querySelectorAll('dialog input')]"
    unnamed = f"{fields}.filter((one) => !one.closest('label')?.textContent.trim())"
    page.wait_for("document.querySelector('dialog[open]') !== null")
    assert page.evaluate(f"{unnamed}.length") == 0
    assert page.evaluate("document.querySelectorAll('dialog [name]').length") == 0
    assert page.evaluate("document.querySelectorAll('dialog input')[1].type") == "password"
    found = page.evaluate(f"({CHECKS})(4.5, 3.0)")
    assert (found["faint"], found["wide"]) == ([], [])

    for source, line in (
        (f"rtsp://root:{TOKEN}@192.0.2.9/1", "camera lab: source: holds credentials; leave them out of it"),
        ("/films/lab.mp4", "camera lab: source: expected a live camera, such as rtsp://…"),
    ):
        type_in(page, 0, "lab")
        type_in(page, 1, source)
        press(page, "Enter")
        page.wait_for(f"document.querySelector('dialog [role=alert]').textContent.includes({json.dumps(line)})")
        assert "\n" not in problem(page)
        assert TOKEN not in problem(page)
        page.wait_for("document.activeElement.getAttribute('aria-invalid') === 'true'")
        assert page.evaluate("document.activeElement === document.querySelectorAll('dialog input')[1]")
    type_in(page, 0, "gate")
    type_in(page, 1, f"rtsp://192.0.2.9/{TOKEN}")
    press(page, "Enter")
    page.wait_for("document.querySelector('dialog [role=alert]').textContent.includes('there is one of this name')")
    type_in(page, 0, "lab")
    press(page, "Enter")
    page.wait_for("document.querySelector('dialog') === null")
    page.wait_for("document.querySelector('.added').dataset.state === 'pending'")
    assert "not in force yet Camera lab was sent" in page.evaluate("document.querySelector('.added').textContent")
    document, change = asked(scene, "lab")
    assert document["changes"] == {"source": f"rtsp://192.0.2.9/{TOKEN}"}
    assert change.by == "anna"
    scene.reports(report("lab", last_change=in_force(change)))
    page.wait_for("document.querySelector('.added').dataset.state === 'in_force'")
    page.wait_for("document.querySelector('[data-camera=lab]') !== null")
    assert page.evaluate("document.querySelector('.added a').getAttribute('href')") == "/cameras/lab"
    page.evaluate(PAGES_AND_ANSWERS)
    page.wait_for("window.found")
    assert page.evaluate("found.includes('last_change')")  # the answer that names the setting
    assert page.evaluate(f"[{json.dumps(TOKEN)}, '192.0.2.9'].filter((one) => found.includes(one))") == []
    assert [one for one in page.messages if "422" not in one and "409" not in one] == []
    page.evaluate("location.assign('/cameras/lab')")
    page.wait_for("document.querySelector('.last')?.textContent.includes('(not shown)')")
    assert TOKEN not in page.evaluate("document.documentElement.outerHTML")


def test_an_admin_removes_a_camera_after_a_question_that_names_it_and_its_alert(guarded, scene, browser):
    (begin,) = made.alert("dock", datetime.now(UTC), states=[made.AlertState.BEGIN])
    scene.events(begin)
    scene.reports(report("dock", open_alerts=[begin.data.alert_id]))
    until = time.monotonic() + SECONDS
    while (camera := guarded.state.cameras.get("dock")) is None or camera.report is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    page = log_in(browser, guarded, "anna", "/cameras/dock")
    page.wait_for("!document.querySelector('.removal').hidden")
    page.evaluate("document.querySelector('.remove').click()")
    page.wait_for("document.querySelector('dialog[open] h2')?.textContent === 'Remove camera dock?'")
    assert "Its open alert ends" in page.evaluate("document.querySelector('.fate').textContent")
    press(page, "Enter")  # on Cancel
    page.wait_for("document.querySelector('dialog') === null")
    assert f"{made.SITE}/dock" not in scene.latest("mistwatch.changes")
    page.evaluate("document.querySelector('.remove').click()")
    page.evaluate("document.querySelector('dialog .danger').click()")
    page.wait_for("document.querySelector('.removal [role=status]').dataset.state === 'pending'")
    document, change = asked(scene, "dock")
    assert (document, change.by) == ({"removed": True}, "anna")
    # A worker may refuse it, as the last camera of a site.
    refused = ReportedChange(by=change.by, at=change.at, problem="camera dock: it is the only one")
    scene.reports(report("dock", last_change=refused))
    page.wait_for("document.querySelector('.removal [role=status]').dataset.state === 'refused'")
    assert "it is the only one" in page.evaluate("document.querySelector('.last').textContent")
    page.evaluate(
        "void (() => { const fetched = window.fetch; window.fetch = async (path, options) => {"
        " const answer = await fetched(path, options); if (options?.method === 'DELETE')"
        " await new Promise((go) => { window.answer = go; }); return answer; }; })()"
    )
    page.evaluate("document.querySelector('.remove').click()")
    page.evaluate("document.querySelector('dialog .danger').click()")
    page.wait_for("window.answer !== undefined")
    scene.raw(made.CAMERAS, "dock", None)  # as its worker does when it ends the camera, here before the answer
    page.wait_for("document.querySelector('.removal [role=status]').dataset.state === 'in_force'")
    page.evaluate("window.answer()")
    page.wait_for("document.querySelector('dialog') === null")
    time.sleep(0.2)
    assert page.evaluate("document.querySelector('.removal [role=status]').dataset.state") == "in_force"
    assert "is not watched any more" in page.evaluate("document.querySelector('.removal').textContent")
    assert page.evaluate("document.querySelector('.remove').hidden")


@pytest.mark.parametrize("name", ["otto", "vera"])
def test_other_roles_see_neither_button_and_the_console_refuses_them(name, guarded, browser):
    page = log_in(browser, guarded, name, "/cameras/gate")
    time.sleep(0.5)
    assert page.evaluate("document.querySelector('.removal').hidden")
    page.evaluate("location.assign('/')")
    page.wait_for("document.querySelector('.tile') !== null")
    time.sleep(0.5)
    assert page.evaluate("document.querySelector('.add').hidden")
    page.evaluate("""(async () => {
      const { send } = await import("/static/link.js");
      const of = (asked) => asked.then(() => "taken", (error) => error.status);
      window.answers = [
        await of(send("POST", "/api/cameras", { name: "attic", source: "rtsp://192.0.2.4/" })),
        await of(send("DELETE", "/api/cameras/gate")),
      ];
    })()""")
    assert page.wait_for("window.answers") == [403, 403]


def test_a_console_without_topics_of_changes_has_no_button(console_broker, scene, evidence, browser):
    scene.reports(report("gate"))
    console = Console(console_broker.bootstrap, Topics(changes=None, control=None), evidence=evidence, port=0)
    console.start()
    try:
        page = browser.open(console.url + "/")
        page.wait_for("document.querySelector('.tile') !== null")
        page.wait_for(READY)
        assert page.evaluate("document.querySelector('.add').hidden")
    finally:
        console.stop()
