"""Single sign-on against a provider that speaks the protocol over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from guarded_console import Console, guarded
from joserfc import jwk
from oidc_provider import CLIENT, SECRET, OidcProvider
from pydantic import ValidationError
from structlog.testing import capture_logs

from pipeline.access_settings import AccessSettings, OidcSettings
from pipeline.errors import UsageError

ROLES = {"staff": "viewer", "guards": "operator", "it": "admin"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider(1_800_000_000.0) as provider:
        yield provider


@pytest.fixture
def console(provider: OidcProvider, tmp_path: Path) -> Iterator[Console]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    oidc = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret_file": secret, "roles": ROLES}
    with guarded(AccessSettings(oidc=OidcSettings.model_validate(oidc))) as console:
        yield console


def to_provider(browser: httpx.Client, target: str = "/alerts/7") -> str:
    """Go to the provider and return the address that it sends the browser back to."""
    leave = browser.get("/login/oidc", params={"next": target})
    assert leave.status_code == 303, leave.text
    assert SECRET not in leave.headers["location"]
    back = httpx.get(leave.headers["location"], trust_env=False)
    assert back.status_code == 303
    return back.headers["location"]


def test_a_login_at_the_provider_begins_a_session_with_the_highest_mapped_role(console: Console) -> None:
    with console.browser() as browser, capture_logs() as lines:
        page = browser.get("/login").text
        assert 'href="/login/oidc?next=/"' in page
        assert 'name="password"' not in page
        assert browser.post("/login", data={"name": "olga", "password": "x"}).status_code == 405
        answer = browser.get(to_provider(browser), headers=LINK)
        assert (answer.status_code, answer.headers["location"]) == (303, "/alerts/7")
        cookies = [cookie.lower() for cookie in answer.headers.get_list("set-cookie")]
        assert ["samesite=strict" in cookie for cookie in cookies if cookie.startswith("mistwatch=")] == [True]
        assert browser.get("/alerts/7").json() == {"name": "olga", "role": "operator", "method": "GET"}
    assert [(line["event"], line["user"], line["by"]) for line in lines] == [("console login", "olga", "oidc")]


def test_the_return_without_the_strict_cookie_goes_on_by_a_second_request(console: Console) -> None:
    with console.browser() as browser:
        browser.get(to_provider(browser))
        with console.browser() as without_cookie:
            answer = without_cookie.get("/alerts/7", headers=LINK)
    assert 'content="0; url=/alerts/7"' in answer.text


def test_an_answer_counts_once_in_its_own_browser_and_for_ten_minutes(console: Console) -> None:
    with console.browser() as browser, console.browser() as other:
        back = to_provider(browser)
        assert other.get(back).status_code == 401
        back = to_provider(browser)
        assert browser.get(back).status_code == 303
        assert browser.get(back).status_code == 401
        back = to_provider(browser)
        console.clock.now += 600
        assert browser.get(back).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"},
        {"aud": "another client"},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"iss": "https://evil.example"},
        {"exp": 1_799_999_000},
        {"exp": None},
        {"groups": ["visitors"]},
        {"groups": None},
    ],
    ids=str,
)
def test_a_wrong_token_begins_no_session(console: Console, provider: OidcProvider, claims: dict[str, Any]) -> None:
    provider.claims |= claims
    with console.browser() as browser, capture_logs() as lines:
        answer = browser.get(to_provider(browser))
        assert answer.status_code == 401
        assert browser.get("/api/session").status_code == 401
    assert [line["event"] for line in lines] == ["console login failed"]
    assert SECRET not in str(lines) + answer.text


def test_a_token_of_another_key_begins_no_session(console: Console, provider: OidcProvider) -> None:
    provider.key = jwk.RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
    with console.browser() as browser:
        assert browser.get(to_provider(browser)).status_code == 401


def test_a_token_signed_with_the_clients_secret_begins_no_session(console: Console, provider: OidcProvider) -> None:
    provider.key, provider.algorithm = jwk.OctKey.import_key(SECRET * 2), "HS256"  # type: ignore[assignment]
    with console.browser() as browser:
        assert browser.get(to_provider(browser)).status_code == 401


def test_a_provider_that_is_away_is_one_line(console: Console, provider: OidcProvider) -> None:
    provider.__exit__()
    with console.browser() as browser, capture_logs() as lines:
        answer = browser.get("/login/oidc")
        assert answer.status_code == 401
        assert "Single sign-on failed" in answer.text
    (line,) = lines
    assert "openid-configuration cannot be read" in line["reason"]


def test_the_secret_comes_from_one_place_and_the_issuer_has_tls(tmp_path: Path) -> None:
    right = {"issuer": "https://id.example", "client_id": CLIENT, "client_secret": SECRET, "roles": ROLES}
    settings = OidcSettings.model_validate(right)
    assert SECRET not in repr(settings) + settings.model_dump_json()
    for wrong in ({"client_secret": None}, {"client_secret_file": "x"}, {"issuer": "http://id.example"}, {"roles": {}}):
        with pytest.raises(ValidationError):
            OidcSettings.model_validate(right | wrong)
    missing = OidcSettings.model_validate(right | {"client_secret": None, "client_secret_file": tmp_path / "no"})
    with pytest.raises(UsageError, match="No such file"), guarded(AccessSettings(oidc=missing)):
        pass
