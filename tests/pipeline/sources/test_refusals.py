"""The true cause when a camera refuses: what it asked for, where it led, and whether a password was sent at all."""

from __future__ import annotations

import pytest
from odd_camera import OddCamera
from watched_camera import Watched
from web_camera import WebCamera

USER, PASSWORD = "viewer", "s3cr3t"


def outage_of(url: str, user: str | None = USER, password: str | None = PASSWORD) -> tuple[str, str]:
    """Return code and message of the second outage: what is remembered of the first is as true."""
    with Watched(url, user=user, password=password) as camera:
        camera.until(lambda: len(camera.outages) >= 2)
    first, second = camera.outages[:2]
    assert (first.code, first.message) == (second.code, second.message)
    assert PASSWORD not in first.message
    assert "\n" not in first.message
    return first.code, first.message.removeprefix(f"camera gate: {url}: ")


@pytest.mark.parametrize(
    ("challenges", "asked"),
    [
        (["SHA-256"], "Digest SHA-256"),
        (["MD5", "SHA-256"], "Digest SHA-256 (besides Digest MD5)"),  # FFmpeg takes the last Digest
        (["SHA-256", "Basic"], "Digest SHA-256 (besides Basic)"),
        (["Bearer"], "Bearer"),
    ],
)
def test_a_scheme_that_ffmpeg_does_not_have(challenges, asked):
    with OddCamera(challenges=challenges, user=USER, password=PASSWORD) as odd:
        assert outage_of(odd.url) == (
            "unauthorized",
            f"asks for {asked}, which this FFmpeg cannot answer; no password was sent; "
            "allow Digest MD5 alone in the camera",
        )
        assert odd.credentials == []


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        (USER, "wr0ng", "user name or password refused"),
        (USER, None, "user name refused; no password is given"),
        (None, None, "asks for a user name and a password; none are given"),
    ],
)
@pytest.mark.parametrize("challenges", [["MD5"], ["SHA-256", "MD5"]])
def test_credentials_that_are_wrong_or_missing(challenges, user, password, words):
    with OddCamera(challenges=challenges, user=USER, password=PASSWORD) as odd:
        assert outage_of(odd.url, user, password) == ("unauthorized", words)
        # One attempt of FFmpeg's for each connection; the probe adds one to the first of them and no more.
        attempts = sum(method == "OPTIONS" for method, _ in odd.requests)
        assert len(odd.credentials) <= (attempts + 1 if user else 0)


@pytest.mark.parametrize("status", ["453 Not Enough Bandwidth", "503 Service Unavailable"])
@pytest.mark.parametrize("challenges", [[], ["MD5"]])
def test_busy(status, challenges):
    """Also where only a client with credentials learns it."""
    with OddCamera(status, challenges=challenges, user=USER, password=PASSWORD) as odd:
        code, text = outage_of(odd.url)
    assert code == "busy"
    assert text.startswith(f"busy, too many clients ({status})")


def test_another_refusal_is_shown_with_its_status():
    with OddCamera("451 Parameter Not Understood") as odd:
        assert outage_of(odd.url) == ("protocol", "refused with the status 451 Parameter Not Understood")


@pytest.mark.parametrize(
    ("challenges", "words"),
    [
        ([], "which refuses the user name and password"),
        (["Basic"], "which refuses the user name and password"),
        (["MD5"], "which asks for a password; none was sent there"),
    ],
)
def test_a_redirection_to_a_camera_that_refuses(challenges, words):
    """FFmpeg answers the second camera's own request only where the first made none."""
    with (
        OddCamera(challenges=["MD5"], user="another", password="one") as second,
        OddCamera("302 Found", location=second.url, challenges=challenges, user=USER, password=PASSWORD) as first,
    ):
        assert outage_of(first.url) == (
            "unauthorized",
            f"redirects to {second.url}, {words}; write that as the source",
        )


def test_a_redirection_to_a_busy_camera():
    with OddCamera("453 Not Enough Bandwidth") as second, OddCamera("302 Found", location=second.url) as first:
        assert outage_of(first.url) == (
            "protocol",
            f"redirects to {second.url}, which refuses or is not there; write the camera's own address",
        )


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps"])
def test_another_server_on_the_cameras_port(scheme):
    with WebCamera() as server:
        url = server.url("/cam").replace("http", scheme)
        words = f"something listens there, but gives no answer in {scheme}; are scheme and port right?"
        assert outage_of(url) == ("protocol", words)


def test_a_redirection_does_not_show_the_credentials_in_it():
    with (
        OddCamera(challenges=["MD5"], user="another", password="one") as second,
        OddCamera("302 Found", location=second.url.replace("//", f"//u:{PASSWORD}@")) as first,
    ):
        _, text = outage_of(first.url)
    assert f"redirects to {second.url}," in text


def test_a_camera_that_refuses_otherwise_later_is_explained_otherwise():
    with OddCamera(challenges=["SHA-256"]) as odd, Watched(odd.url, user=USER, password=PASSWORD) as camera:
        camera.until(lambda: camera.outages)
        assert "SHA-256" in camera.outages[0].message
        odd.change(challenges=["MD5"])
        camera.until(lambda: "user name or password refused" in camera.outages[-1].message)
        odd.change("453 Not Enough Bandwidth")
        camera.until(lambda: "busy" in camera.codes)
