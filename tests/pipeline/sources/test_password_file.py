"""The password of a camera in a file: read at each connection, so that a changed one is used."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import ValidationError
from web_camera import Page, WebCamera

from pipeline.live.service import source_options
from pipeline.secret_file import SecretFileError, read_secret
from pipeline.settings import CameraSettings, load_site
from pipeline.sources.base import FrameSpec, SourceError
from pipeline.sources.http import HttpSource
from pipeline.sources.reconnect import BackoffSettings, Outage

SECRET = "s3cr3t-w0rd"


class TestFile:
    @pytest.mark.parametrize(
        "content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"{SECRET}\nmore\n", f"\ufeff{SECRET}\n"]
    )
    def test_the_first_line_is_the_secret(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "word").write_bytes(content.encode())
        assert read_secret("password file", tmp_path / "word") == SECRET

    def test_blanks_belong_to_it(self, tmp_path: Path) -> None:
        (tmp_path / "word").write_text(" a b \n")
        assert read_secret("password file", tmp_path / "word") == " a b "

    @pytest.mark.parametrize(
        ("content", "words"),
        [(b"", "the first line is empty"), (b"\nx", "the first line is empty"), (b"w0rd\xff\n", "not UTF-8 text")],
    )
    def test_a_file_without_one(self, content: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "word").write_bytes(content)
        with pytest.raises(SecretFileError, match=words) as caught:
            read_secret("password file", tmp_path / "word")
        assert "w0rd" not in str(caught.value).replace(str(tmp_path), "")
        assert str(tmp_path / "word") in str(caught.value)

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(SecretFileError, match=r"password file .*none: No such file or directory"):
            read_secret("password file", tmp_path / "none")
        with pytest.raises(SecretFileError, match="Is a directory"):
            read_secret("password file", tmp_path)


def test_a_changed_password_is_used_at_the_next_connection(tmp_path: Path) -> None:
    """First no file, then an empty one, then a wrong password, then the right one."""
    word = tmp_path / "word"
    outages: list[Outage] = []
    steps = iter([lambda: word.touch(), lambda: word.write_text("wrong\n"), lambda: word.write_text(f"{SECRET}\n")])
    stop = threading.Event()

    def out(outage: Outage) -> None:
        outages.append(outage)
        if len(outages) > 3:
            stop.set()
            return
        next(steps)()

    with WebCamera("viewer", SECRET) as server:
        server.pages["/x"] = Page(b"no video", "text/html")
        source = HttpSource(
            "gate",
            server.url("/x"),
            user="viewer",
            password_file=word,
            on_outage=out,
            backoff=BackoffSettings(first=0.05, longest=0.1),
        )
        assert not list(source.frames([FrameSpec(16, 16)], stop))
    assert [outage.code for outage in outages] == ["unauthorized", "unauthorized", "unauthorized", "not_a_video"]
    assert f"password file {word}: No such file" in outages[0].message
    assert f"password file {word}: the first line is empty" in outages[1].message
    assert "user name or password refused" in outages[2].message
    assert not any(word in outage.message for outage in outages for word in (SECRET, "wrong"))


def test_it_needs_a_user() -> None:
    with pytest.raises(SourceError, match="a password file without a user name") as caught:
        HttpSource("gate", "http://h/x", password_file=Path("word"))
    assert caught.value.code == "usage"


class TestSettings:
    def test_files_are_relative_to_the_site(self, tmp_path: Path) -> None:
        site = tmp_path / "site.yaml"
        site.write_text(
            "cameras: {gate: {source: 'rtsps://h/x', username: u, password_file: word, tls: {ca: ca.pem}}}\n"
        )
        options = source_options(load_site(site).cameras["gate"])
        assert options.password_file == tmp_path / "word"
        assert options.tls is not None
        assert options.tls.ca == tmp_path / "ca.pem"
        assert options.tls.verify

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"username": "u", "password": SECRET, "password_file": "f"}, "password or password_file, not both"),
            ({"password_file": "f"}, "password_file needs username"),
            ({"tls": {"fingerprint": "12"}}, "64 hexadecimal digits, got '12'"),
            ({"tls": {"fingerprint": "ab" * 32, "ca": "x"}}, "leave out tls.ca"),
        ],
    )
    def test_settings_that_contradict_themselves(self, settings: dict[str, object], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            CameraSettings(source="rtsps://h/x", **settings)  # type: ignore[arg-type]
