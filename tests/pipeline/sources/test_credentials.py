"""Credentials are found, used, and shown nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.credentials import redact, redact_location, split

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://10.0.0.7/stream1", "rtsp://10.0.0.7/stream1"),
        (f"rtsp://admin:{SECRET}@10.0.0.7/stream1", "rtsp://***@10.0.0.7/stream1"),
        (f"rtsp://admin:{SECRET}@[fe80::1]:554/a?b=c", "rtsp://***@[fe80::1]:554/a?b=c"),
        (f"rtsp://admin:a@b/c:{SECRET}@10.0.0.7/x", "rtsp://***@10.0.0.7/x"),
        (f"cannot open 'http://u:{SECRET}@h/x': gone", "cannot open 'http://***@h/x': gone"),
        (f"rtsp://h/x?user=admin&password={SECRET}&channel=1", "rtsp://h/x?user=***&password=***&channel=1"),
        (f"rtsp://h/user=admin_password={SECRET}_channel=1", "rtsp://h/user=***"),
        (f"rtsps://h/x?PWD={SECRET}", "rtsps://h/x?PWD=***"),
        (f"http://h/x?loginuse=a&loginpas={SECRET}&cam=1", "http://h/x?loginuse=***&loginpas=***&cam=1"),
        (f"http://h/x?sessionid={SECRET}&key={SECRET}&chn=2", "http://h/x?sessionid=***&key=***&chn=2"),
        (f"http://h/x?api=a&_sid={SECRET}&StmKey={SECRET}&chn=2", "http://h/x?api=a&_sid=***&StmKey=***&chn=2"),
        (f"http://h/x?ticket={SECRET}&tok={SECRET}", "http://h/x?ticket=***&tok=***"),
        (f"http://h/x?sid={SECRET}&api-key={SECRET}&SID={SECRET}", "http://h/x?sid=***&api-key=***&SID=***"),
        ("http://h/x?side=2&stock=3&keyframe=4", "http://h/x?side=2&stock=3&keyframe=4"),
        (f"http://h/x?loginpas={SECRET}: refused: gone", "http://h/x?loginpas=***: refused: gone"),
        (f"http://h/x?pwd=a:{SECRET}&chn=2", "http://h/x?pwd=***&chn=2"),
        (f"http://h/x?pwd=a:{SECRET}: refused", "http://h/x?pwd=***: refused"),
        (f"http://h/snap.cgi?u=a&p={SECRET}&step=2", "http://h/snap.cgi?u=***&p=***&step=2"),
        (f"rtsp://h:554/0/admin:{SECRET}/main", "rtsp://h:554/0/***/main"),
        (f"rtsp://h/admin:{SECRET}: no such stream", "rtsp://h/***: no such stream"),
        ("rtsp://10.0.0.7:8600/x@y: connection refused", "rtsp://10.0.0.7:8600/x@y: connection refused"),
        ("rtsp://[fe80::1]:554/x@y", "rtsp://[fe80::1]:554/x@y"),
        ("from rtsp://10.0.0.7/x@y to", "from rtsp://10.0.0.7/x@y to"),
        (f"rtsp://u:{SECRET}@10.0.0.7/x@y: gone", "rtsp://***@y: gone"),
        (f"http://10.0.0.7/proxy?to=u:{SECRET}@h/x", "http://***@h/x"),
        (f"rtsp://10.0.0.7/1,rtsp://u:{SECRET}@h/2", "rtsp://***@h/2"),
        ("file:///films/12:30:00.mp4", "file:///films/12:30:00.mp4"),
        (f"two: rtsp://a:{SECRET}@h/1 rtsp://b:{SECRET}@h/2", "two: rtsp://***@h/1 rtsp://***@h/2"),
        ("no URL, but a mail@address", "no URL, but a mail@address"),
        ("2 + 2 = 4", "2 + 2 = 4"),
    ],
)
def test_redact(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (f"rtsp://admin:a {SECRET}@10.0.0.7/x", "rtsp://***@10.0.0.7/x"),
        (f"rtsp://admin:'{SECRET}'@10.0.0.7/x", "rtsp://***@10.0.0.7/x"),
        (f'rtsp://admin:<"{SECRET}@10.0.0.7/x', "rtsp://***@10.0.0.7/x"),
        (f"rtsp://admin:p@{SECRET}/word@10.0.0.7/x", "rtsp://***"),
        (f"rtsp://camera:{SECRET}/x", "rtsp://camera:***/x"),
        ("rtsp://10.0.0.7/a@b", "rtsp://10.0.0.7/a@b"),
        ("rtsp://camera:70000/x", "rtsp://camera:70000/x"),
        (f"rtsp:/admin:{SECRET}@10.0.0.7/x", "rtsp:/***@10.0.0.7/x"),
        (f"rtsp//admin:{SECRET}@10.0.0.7/x", "rtsp//***@10.0.0.7/x"),
        (f"admin:{SECRET}@10.0.0.7/x", "***@10.0.0.7/x"),
        ("/films/gate:north@12.mp4", "/films/gate:north@12.mp4"),
        ("mail@address", "mail@address"),
    ],
)
def test_redact_location(location, shown):
    assert redact_location(location) == shown
    assert redact_location(shown) == shown


@pytest.mark.parametrize(
    ("location", "bare", "user", "password"),
    [
        ("rtsp://h/x", "rtsp://h/x", None, None),
        ("rtsp://u:p@h:554/x?y=1", "rtsp://h:554/x?y=1", "u", "p"),
        ("rtsp://u@h/x", "rtsp://h/x", "u", None),
        ("rtsp://a%40b:p%3A%2Fw@h/x", "rtsp://h/x", "a@b", "p:/w"),
        ("rtsp://u:p@ss:word@h/x", "rtsp://h/x", "u", "p@ss:word"),
        ("rtsp://h/x@y", "rtsp://h/x@y", None, None),
        ("rtsp://u:p@[::1]:8554/x", "rtsp://[::1]:8554/x", "u", "p"),
    ],
)
def test_split(location, bare, user, password):
    found = split(location)
    assert (found.bare, found.user, found.password) == (bare, user, password)


@pytest.mark.parametrize(
    "location",
    [
        f"rtsp://admin:12345/{SECRET}@10.0.0.7/x",  # the host would be admin, its port 12345
        f"rtsp://admin:12345?{SECRET}@10.0.0.7/x",
        f"rtsp://admin:12345#{SECRET}@10.0.0.7/x",
        f"rtsp://admin:{SECRET}/6@10.0.0.7/x",
        f"rtsp://ad/min:{SECRET}@10.0.0.7/x",
        f"http://first.last:12345/{SECRET}@camera.example/x",
        f"rtsp://12345:6/{SECRET}@10.0.0.7/x",
        f"rtsp://admin:p@{SECRET}/word@10.0.0.7/x",
        f"rtsp://admin:p@ss.{SECRET}/word@10.0.0.7/x",
    ],
)
def test_a_password_with_an_unescaped_sign(location):
    """No host can be shown: the one that would be asked is a part of the credentials."""
    found = split(location)
    assert found.is_ambiguous
    assert str(found) == f"{location.partition(':')[0]}://***"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("rtsp://10.0.0.7/a@b", "rtsp://10.0.0.7/a@b"),
        ("rtsp://10.0.0.7:554/a@b?user=admin&c=1", "rtsp://10.0.0.7:554/a@b?user=***&c=1"),
        ("rtsp://[fe80::1]:554/a@b", "rtsp://[fe80::1]:554/a@b"),
        ("rtsp://localhost:8554/a@b", "rtsp://localhost:8554/a@b"),
        ("rtsp://camera.example/a@b", "rtsp://camera.example/a@b"),
        ("rtsp://camera/a%40b", "rtsp://camera/a%40b"),
        (f"rtsp://u:{SECRET}@10.0.0.7:554/a@b", "rtsp://10.0.0.7:554/a@b"),
        (f"rtsp://u:{SECRET}@camera:554/a%40b", "rtsp://camera:554/a%40b"),
    ],
)
def test_an_at_sign_in_the_path(location, shown):
    """The host that is asked is the host that is shown."""
    found = split(location)
    assert not found.is_ambiguous
    assert str(found) == shown


def test_credentials_given_apart_go_first():
    found = split("rtsp://old:older@h/x", user="new", password="newer")
    assert (found.bare, found.user, found.password) == ("rtsp://h/x", "new", "newer")


@given(user=st.text(min_size=1), password=st.text())
def test_ffmpegs_url_holds_them_encoded(user, password):
    """Taken apart by an independent reading of the URL, they are what was given."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(split("rtsp://host:554/x", user=user, password=password).for_ffmpeg())
    assert parts.hostname == "host"
    assert parts.port == 554
    assert parts.path == "/x"
    assert unquote(parts.username or "") == user
    assert unquote(parts.password or "") == password


def test_bytes_that_are_not_utf_8():
    """A command line may hold them; FFmpeg gets the bytes that were typed."""
    assert split("rtsp://a:\udcff@h/x").for_ffmpeg() == "rtsp://a:%FF@h/x"


def test_nothing_shows_them():
    location = split("rtsp://someone:s3cr3t@h/x?token=s3cr3t")
    for text in (str(location), repr(location), f"{location}", repr([location])):
        assert "s3cr3t" not in text
        assert "someone" not in text
