"""``mistwatch console-users``: the file it writes is the one that the console reads."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from in_process import called

from pipeline.access_settings import Role
from pipeline.console.access.users import read_users

PASSWORD = "correct horse battery"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return file


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return tmp_path / "users.yaml"


def test_a_user_is_added_changed_listed_and_removed(users: Path, secret: Path) -> None:
    common = ("--users-file", users)
    added = called("console-users", "add", "anna", "--role", "admin", "--password-file", secret, *common)
    assert added == (0, f"anna: added as admin to {users}\n", "")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert PASSWORD not in users.read_text()
    before = read_users(users)["anna"]
    assert (before.role, before.hash.split("$")[1]) == (Role.ADMIN, "argon2id")
    secret.write_text("another long password")
    assert called("console-users", "password", "anna", "--password-file", secret, *common)[0] == 0
    assert read_users(users)["anna"].hash != before.hash
    assert called("console-users", "role", "anna", "viewer", *common)[0] == 0
    assert called("console-users", "list", *common) == (0, "anna: viewer\n", "")
    assert called("console-users", "remove", "anna", *common)[0] == 0
    assert read_users(users) == {}
    assert [path.name for path in users.parent.iterdir() if path not in {users, secret}] == []


def test_the_password_is_read_from_standard_input(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    assert called("console-users", "add", "vera", "--users-file", users)[0] == 0
    assert read_users(users)["vera"].role is Role.VIEWER


def test_the_file_of_a_site_is_that_of_its_console(tmp_path: Path, secret: Path, root: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("console: {users_file: people.yaml}\ncameras: {gate: {source: 'rtsp://camera/1'}}\n")
    words = ("add", "vera", "--config", site, "--password-file", secret)
    assert called("console-users", *words)[::2] == (0, "")
    assert list(read_users(tmp_path / "people.yaml")) == ["vera"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("add", "a b"), "a name begins with a letter or digit"),
        (("add", "vera", "--role", "root"), "--role root: expected viewer, operator or admin"),
        (("remove", "vera"), "No such file"),
        (("list",), "No such file"),
    ],
)
def test_mistakes_are_one_line(users: Path, secret: Path, words: tuple[str, ...], line: str) -> None:
    more = ("--password-file", secret) if words[0] == "add" else ()
    status, output, problems = called("console-users", *words, *more, "--users-file", users)
    assert (status, output) == (2, "")
    assert line in problems
    assert problems.count("\n") == 1


def test_a_user_who_exists_is_not_replaced_and_a_short_password_not_taken(users: Path, secret: Path) -> None:
    words = ("add", "vera", "--password-file", secret, "--users-file", users)
    called("console-users", *words)
    before = users.read_bytes()
    assert "vera exists already" in called("console-users", *words)[2]
    secret.write_text("short")
    problems = called("console-users", "password", "vera", "--password-file", secret, "--users-file", users)[2]
    assert "5 characters; expected 12 to 1024" in problems
    assert "no user otto" in called("console-users", "remove", "otto", "--users-file", users)[2]
    assert users.read_bytes() == before


def test_neither_file_nor_site_is_a_mistake() -> None:
    assert "expected --users-file or --config" in called("console-users", "list")[2]
