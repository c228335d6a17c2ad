"""Changes made on the camera's page in a real browser: they arrive on the topic, and the page says what is in force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

import chromium
import console_scene as made
import pytest

from pipeline.alerts.camera_report import ReportedChange
from pipeline.console.serving import Console
from pipeline.live.audit import Change, change_of

SECONDS = 60.0
CORNERS = [(0.2, 0.3), (0.8, 0.3), (0.7, 0.9)]  #: shares of the picture


@pytest.fixture(scope="module")
def browser(require: Callable[[str], NoReturn]) -> Iterator[chromium.Chromium]:
    """A running Chromium."""
    if chromium.program() is None:
        require("chromium (`make system` installs it)")
    with chromium.Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(console: Console, scene: made.Scene, browser: chromium.Chromium) -> chromium.Page:
    """The page of a camera whose live picture is not of the box's shape."""
    scene.latest("mistwatch.changes")  # the topic is there
    scene.reports(report())
    scene.scores(*made.score_records("gate", [0.2] * 200 + [0.5] * 9 + [0.2] * 50))
    scene.picture("gate", made.plain_frame(120, 96, 72))
    until = time.monotonic() + SECONDS
    while (camera := console.state.cameras.get("gate")) is None or not camera.histories or camera.picture is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    page = browser.open(console.url + "/cameras/gate", width=1440)
    page.wait_for("document.querySelector('#main').dataset.ready")
    page.wait_for("document.querySelector('.live img').naturalWidth === 96")
    return page


def report(**more: Any) -> Any:
    settings = {"zones": {"sky": {"points": [(0.0, 0.0), (1.0, 0.0), (1.0, 0.1)]}, **more.pop("zones", {})}}
    return made.report("gate", takes_changes="site", heartbeat_seconds=600.0, settings=settings, **more)


def asked(scene: made.Scene) -> tuple[dict[str, Any], Change]:
    """Return all changes of the camera that the topic has, and the last one."""
    record = scene.latest("mistwatch.changes")[f"{made.SITE}/gate"]
    change = change_of(record.headers)
    assert change is not None
    return json.loads(record.value or b"")["changes"], change


def edit(page: chromium.Page, zone: str) -> None:
    page.wait_for(f"document.querySelector('[data-zone={zone}] button') !== null")
    page.evaluate(f"document.querySelector('[aria-label=\"Edit zone {zone}\"]').click()")


def fill(page: chromium.Page, field: str, text: str) -> None:
    """Type into a field of the zone's form, as input events report it."""
    page.evaluate(
        f"(() => {{ const one = document.querySelector({json.dumps('.zonelist ' + field)});"
        f" one.value = {json.dumps(text)}; one.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    )


def hours(page: chromium.Page) -> dict[str, str]:
    """Return the hours in the form by day, without days that have none."""
    found: dict[str, str] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.zonelist [role=group] td input')]"
        ".filter((one) => one.value).map((one) => [one.ariaLabel.slice('Hours on '.length), one.value]))"
    )
    return found


def save_zone(page: chromium.Page) -> None:
    page.evaluate("document.querySelector('.zonelist .main').click()")


def chips(page: chromium.Page, zone: str) -> list[str]:
    """Return the chips of a zone's row, once the form is closed."""
    page.wait_for(
        f"document.querySelector('.zonelist form') === null && document.querySelector('[data-zone={zone}]') !== null"
    )
    found: list[str] = page.evaluate(
        f"[...document.querySelectorAll('[data-zone={zone}] .chip')].map((one) => one.textContent)"
    )
    return found


def test_a_zone_drawn_on_the_picture_is_a_message_and_its_state_is_shown(page, scene):
    page.evaluate("document.querySelector('.draw').click()")
    page.evaluate("document.querySelector('.live').scrollIntoView({block: 'center'})")
    _, _, width, height = page.box(".live")
    assert width / height == pytest.approx(96 / 72, rel=0.02)  # the picture is not stretched
    for x, y in CORNERS[:2]:
        page.click_in(".live", x, y)
    # Two points do not make a zone: one line, and nothing is sent.
    page.evaluate(
        "(() => { const name = document.querySelector('.zonelist input'); name.value = 'road';"
        " name.dispatchEvent(new Event('input')); })()"
    )
    page.evaluate("document.querySelector('.zonelist .main').click()")
    page.wait_for("document.querySelector('[role=alert].warn-text').textContent.includes('3 or more points (got 2)')")
    x, y = CORNERS[2]
    page.click_in(".live", x, y - 0.1)
    for _ in range(10):  # the keyboard moves the last point down by a hundredth each time
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
    page.evaluate("document.querySelector('.zonelist .main').click()")
    page.wait_for("document.querySelector('[data-zone=road]') !== null")
    changes, change = asked(scene)
    points = changes["zones.road"]["points"]
    assert [pytest.approx(one, abs=0.01) for one in CORNERS] == [tuple(one) for one in points]
    page.wait_for("document.querySelector('.last').dataset.state === 'pending'")
    scene.reports(
        report(
            zones={"road": {"points": points}},
            last_change=ReportedChange(by=change.by, at=change.at, problem=None),
        )
    )
    page.wait_for("document.querySelector('.last').dataset.state === 'in_force'")
    assert "local changed zones.road default → 3 points" in page.evaluate("document.querySelector('.last').textContent")


def test_a_zone_gets_hours_in_its_form_and_loses_them_again(page, scene):
    scene.reports(report(zones={"door": {"points": CORNERS}}))
    edit(page, "door")
    page.evaluate("document.querySelector('.zonelist summary').click()")
    fill(page, "[role=group] label input", "Europe/Berlin")
    fill(page, "[aria-label='Hours on Monday']", "25:00-26:00")
    save_zone(page)
    page.wait_for("document.querySelector('.zonelist form [role=alert]').textContent.includes('not hours of a day')")
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"):
        fill(page, f"[aria-label='Hours on {day}']", "08:00-12:00, 13:00-18:00")
    fill(page, "[aria-label='Hours on Saturday']", "22:00-02:00")
    save_zone(page)
    assert chips(page, "door") == ["hours"]
    points = [list(one) for one in CORNERS]
    schedule = {
        "timezone": "Europe/Berlin",
        "weekdays": ["08:00-12:00", "13:00-18:00"],
        "saturday": ["22:00-02:00"],
        "sunday": [],
    }
    assert asked(scene)[0]["zones.door"] == {"points": points, "schedule": schedule}
    page.wait_for("document.querySelector('.last').textContent.includes('3 points, hours (Europe/Berlin)')")
    edit(page, "door")
    assert page.evaluate("document.querySelector('.zonelist details').open")
    assert hours(page)["Friday"] == "08:00-12:00, 13:00-18:00"
    assert hours(page)["Saturday"] == "22:00-02:00"
    assert "Sunday" not in hours(page)
    page.evaluate("document.querySelector('.zonelist details button').click()")
    assert hours(page) == {}
    save_zone(page)
    assert chips(page, "door") == []
    assert asked(scene)[0]["zones.door"] == {"points": points}


def test_hours_of_a_zone_that_are_not_touched_stay_word_for_word(page, scene):
    schedule = {"timezone": "Europe/Berlin", "weekdays": ["06:00-20:00"], "friday": ["06:00-16:00"]}
    scene.reports(report(zones={"yard": {"points": CORNERS, "schedule": schedule}}))
    edit(page, "yard")
    assert hours(page)["Friday"] == "06:00-16:00"
    fill(page, "input", "court")
    save_zone(page)
    assert chips(page, "court") == ["hours"]
    changes, _ = asked(scene)
    assert (changes["zones.yard"], changes["zones.court"]["schedule"]) == (None, schedule)


def test_an_ignored_zone_has_no_hours(page, scene):
    schedule = {"timezone": "Europe/Berlin", "weekdays": ["06:00-20:00"]}
    scene.reports(report(zones={"lane": {"points": CORNERS, "schedule": schedule}}))
    edit(page, "lane")
    assert page.evaluate("document.querySelector('.zonelist details').checkVisibility()")
    page.evaluate("document.querySelector('.zonelist input[type=checkbox]').click()")
    assert not page.evaluate("document.querySelector('.zonelist details').checkVisibility()")
    save_zone(page)
    assert chips(page, "lane") == ["ignored"]
    assert asked(scene)[0]["zones.lane"] == {"points": [list(one) for one in CORNERS], "ignore": True}


def test_a_tried_threshold_is_applied_and_the_page_says_when_it_is_in_force(page, scene):
    page.wait_for("document.querySelector('.timeline .curve') !== null")
    page.evaluate("document.querySelector('.handle').focus()")
    for _ in range(10):
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
    page.wait_for("document.querySelector('.result [data-count]')?.textContent.startsWith('At 0.50')")
    assert page.evaluate("document.querySelector('.result [data-count]').dataset.count") == "1"
    page.evaluate("document.querySelector('.apply').click()")
    page.wait_for("document.querySelector('.result').textContent.includes('was sent')")
    changes, change = asked(scene)
    assert (changes["alerts.open_threshold"], changes["alerts.close_threshold"]) == (0.5, 0.4)
    assert change.by == "local"
    judged = made.JUDGED.model_copy(update={"open_threshold": 0.5, "close_threshold": 0.4})
    scene.scores(*made.score_records("gate", [0.2] * 3, first=1000, until=datetime.now(UTC), judged_by=judged))
    page.wait_for("document.querySelector('.result [data-applied]') !== null")
    assert page.evaluate("document.querySelector('.handle').getAttribute('aria-valuenow')") == "0.50"


def test_a_change_for_a_camera_that_has_just_gone_is_one_line(page, scene):
    scene.raw("mistwatch.changes", f"{made.SITE}/gate", b'{"removed": true}')
    page.evaluate("document.querySelector('[aria-label=\"Delete zone sky\"]').click()")
    page.wait_for("document.querySelector('.panel [role=alert]').textContent.includes('it has just been removed')")
    assert [line for line in page.messages if "404" not in line and "422" not in line] == []
