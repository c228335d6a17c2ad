"""The login in a real browser, and a link from another site, whose first request lacks the SameSite=Strict cookie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import chromium
import pytest
from guarded_console import guarded, write_users

from pipeline.access_settings import AccessSettings

PASSWORD = "correct horse battery"


@pytest.mark.realparts
def test_a_link_from_another_site_opens_after_the_login_and_again_with_the_session(
    tmp_path: Path, until: Callable[..., None], require: Callable[[str], NoReturn]
) -> None:
    if chromium.program() is None:
        require("Chromium")
    users = write_users(tmp_path / "users.yaml", vera=("viewer", PASSWORD))
    with guarded(AccessSettings(users_file=users)) as console, chromium.Chromium() as browser:
        link = tmp_path / "chat.html"
        link.write_text(f'<a href="{console.url}/alerts/7?page=1">alert</a>')

        def follow() -> chromium.Page:
            page = browser.open(link)
            page.evaluate("document.querySelector('a').click()")
            return page

        page = follow()
        until(lambda: page.evaluate("document.title") == "Log in – mistwatch", "the login page")
        shape = "getComputedStyle(document.querySelector('form')).display"
        until(lambda: page.evaluate(shape) == "grid", "the login page's own sheet")
        page.evaluate(
            f"document.getElementById('name').value = 'vera'; "
            f"document.getElementById('password').value = '{PASSWORD}'; document.querySelector('button').click()"
        )
        until(lambda: page.evaluate("document.body?.innerText ?? ''").startswith('{"name":"vera"'), "the alert")
        assert page.evaluate("location.href") == f"{console.url}/alerts/7?page=1"
        assert page.evaluate("document.cookie") == ""  # HttpOnly
        again = follow()
        until(lambda: again.evaluate("document.body?.innerText ?? ''").startswith('{"name":"vera"'), "the alert again")
        assert [message for message in page.messages + again.messages if "Security Policy" in message] == []
