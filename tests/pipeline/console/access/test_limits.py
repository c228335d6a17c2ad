"""Limits of logins, sessions and links for all inputs; the clock is the test's."""

from __future__ import annotations

import string
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.access_settings import Role
from pipeline.console.access.login_limits import NAME_SECONDS, LoginLimits
from pipeline.console.access.sessions import Sessions
from pipeline.console.access.signed_links import SignedLinks, confined

WORDS = st.text(st.characters(exclude_characters="/%\\", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)
SEGMENTS = WORDS.filter(lambda word: word not in {".", ".."})
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/evidence/" + "/".join(parts))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.floats(0, 40))))
def test_a_new_address_waits_for_at_most_the_names_delay(tries: list[tuple[str, str, float]]) -> None:
    limits, now = LoginLimits(), 0.0
    for name, address, pause in tries:
        now += pause
        limits.begin(name, address, now)
    assert limits.begin("a", "192.0.2.1", now).wait_seconds <= NAME_SECONDS
    assert limits.begin("a", "192.0.2.1", now + NAME_SECONDS).wait_seconds == 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_guesses_at_one_name_are_bounded_whatever_their_rhythm(pauses: list[float]) -> None:
    """By hand: three free ones, delays of 1, 2, 4, 8 and 16 s, then one in 30 s; an idle hour is not reached."""
    limits, now, judged = LoginLimits(), 0.0, 0
    for number, pause in enumerate(pauses):
        now += min(pause, 17.0)
        judged += limits.begin("vera", f"10.0.{number // 250}.{number % 250}", now).wait_seconds == 0
    assert judged <= 3 + 5 + 1 + now / NAME_SECONDS


def test_the_delay_doubles() -> None:
    limits, now, delays = LoginLimits(), 0.0, []
    while len(delays) < 10:
        wait = limits.begin("vera", "10.0.0.1", now).wait_seconds
        if wait > 0:
            delays.append(wait)
            now += wait
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_failures_are_forgotten_after_an_hour() -> None:
    limits = LoginLimits()
    while limits.begin("vera", "10.0.0.1", 0.0).wait_seconds == 0:
        pass
    assert limits.begin("vera", "10.0.0.1", 3600.0).wait_seconds == 0
    assert limits.begin("vera", "10.0.0.1", 3600.0).wait_seconds == 0


def test_an_own_account_does_not_clear_an_address() -> None:
    limits = LoginLimits()
    for victim in ("v1", "v2"):
        limits.begin(victim, "10.0.0.1", 0.0)
    limits.succeed(limits.begin("mallory", "10.0.0.1", 0.0))
    limits.begin("v3", "10.0.0.1", 0.0)
    assert limits.begin("v4", "10.0.0.1", 0.0).wait_seconds > 0


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    limits = LoginLimits()
    waits = [limits.begin(f"n{number}", f"2001:db8::{number:x}", 0.0).wait_seconds for number in range(4)]
    assert [wait > 0 for wait in waits] == [False, False, False, True]


def test_memory_is_bounded_for_any_number_of_names_and_addresses() -> None:
    limits = LoginLimits(most=100)
    for number in range(2000):
        attempt = limits.begin("x" * 100_000 if number % 2 else str(number), f"n{number}", float(number))
        if number % 3 == 0 and attempt.wait_seconds == 0:
            limits.succeed(attempt)
    assert len(limits) <= 4 * 100


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 50)), max_size=60))
def test_sessions_are_bounded_and_the_newest_is_open(logins: list[tuple[str, float]]) -> None:
    sessions, now = Sessions(idle_seconds=100, most_seconds=200, most=5, most_per_user=2), 0.0
    for name, pause in logins:
        now += pause
        identity, session = sessions.begin(name, Role.VIEWER, "", now)
        assert sessions.find(identity, now) is session
        assert len(sessions) <= 5
        assert sessions.find(identity, now + 99) is session
        assert sessions.find(identity, now + 100.5) is None


def test_sessions_of_one_user_end_none_of_another() -> None:
    sessions = Sessions(idle_seconds=100, most_seconds=200, most_per_user=3)
    other, _ = sessions.begin("other", Role.VIEWER, "", 0.0)
    own = [sessions.begin("own", Role.VIEWER, "", 1.0)[0] for _ in range(10)]
    assert sessions.find(other, 2.0) is not None
    assert [sessions.find(each, 2.0) is not None for each in own] == [False] * 7 + [True] * 3


@given(PATHS, st.integers(0, 10**11))
def test_a_signed_link_opens_its_path_until_it_expires(path: str, expires: int) -> None:
    links = SignedLinks()
    link = urlsplit(links.sign(path, expires))
    assert unquote(link.path) == path
    query = link.query.encode()
    assert links.verify(path, query, expires - 1)
    assert not links.verify(path, query, expires)
    assert not SignedLinks().verify(path, query, expires - 1)


@given(PATHS, PATHS, st.data())
def test_a_changed_link_does_not_open(path: str, other: str, data: st.DataObject) -> None:
    links = SignedLinks(b"k" * 32)
    query = urlsplit(links.sign(path, 1000)).query
    if other != path:
        assert not links.verify(other, query.encode(), 0)
    at = data.draw(st.integers(0, len(query) - 1))
    changed = query[:at] + data.draw(st.sampled_from(string.printable)) + query[at + 1 :]
    if changed != query:
        assert not links.verify(path, changed.encode(), 0)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/evidence", "/evidence/", "/evidence/..", "/evidence/a/../b", "/evidence/./a", "/evidence//a"),
        *("evidence/a", "/etc/passwd", "/evidence/%2e%2e", "/evidence/a\\b", "/evidence/a\x00", "/evidence/a\nb"),
        "/evidence/a/",
    ],
)
def test_a_path_that_could_leave_the_folder_is_neither_signed_nor_served(path: str) -> None:
    assert not confined(path)
    with pytest.raises(ValueError, match="below /evidence/"):
        SignedLinks().sign(path, 1000)
