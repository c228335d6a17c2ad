"""``mistwatch console-users``: the file of the console's users. Passwords are never arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.access_settings import Role
from pipeline.cli.options import one_of
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.console.access.users import User

app = typer.Typer(help="Manage the users of the console.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="Name of the user.", show_default=False)]
_File = Annotated[
    Path | None, typer.Option("--users-file", help="File of the users; default: that of --config.", show_default=False)
]
_Config = Annotated[
    Path | None, typer.Option("--config", help="Site whose console.users_file is the file.", show_default=False)
]
_Role = Annotated[
    str,
    typer.Option(
        "--role",
        parser=one_of("--role", *Role),
        metavar="viewer|operator|admin",
        help="viewer: reads; operator: judges, and changes thresholds and zones; admin: cameras and users, too.",
    ),
]
_PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help="File whose first line is the password; default: a prompt, or standard input."
    ),
]


@app.command()
def add(
    name: _Name,
    role: _Role = Role.VIEWER,
    users_file: _File = None,
    config: _Config = None,
    password_file: _PasswordFile = None,
) -> None:
    """Add a user; the file is created where it is missing."""
    from pipeline.console.access.passwords import hash_password
    from pipeline.console.access.users import User, edit_users

    file, checked = _file(users_file, config), _checked(name)
    if file.exists():
        _require(file, checked, there=False)
    hashed = hash_password(_password(checked, password_file))

    def change(users: dict[str, User]) -> None:
        if checked in users:
            raise _taken(file, checked)
        users[checked] = User(checked, Role(role), hashed)

    edit_users(file, change, create=True)
    typer.echo(f"{checked}: added as {Role(role).value} to {file}")


@app.command()
def remove(name: _Name, users_file: _File = None, config: _Config = None) -> None:
    """Remove a user, whose sessions end at once."""
    from pipeline.console.access.users import edit_users

    file, checked = _file(users_file, config), _checked(name)

    def change(users: dict[str, User]) -> None:
        if users.pop(checked, None) is None:
            raise _missing(file, checked)

    edit_users(file, change)
    typer.echo(f"{checked}: removed from {file}")


@app.command()
def password(
    name: _Name, users_file: _File = None, config: _Config = None, password_file: _PasswordFile = None
) -> None:
    """Change the password of a user, whose sessions end at once."""
    from pipeline.console.access.passwords import hash_password

    file, checked = _file(users_file, config), _checked(name)
    _require(file, checked, there=True)
    hashed = hash_password(_password(checked, password_file))
    _replace(file, checked, lambda user: replace(user, hash=hashed))
    typer.echo(f"{checked}: password changed in {file}")


@app.command("role")
def role_(
    name: _Name,
    role: Annotated[
        str, typer.Argument(parser=one_of("role", *Role), metavar="viewer|operator|admin", help="The new role.")
    ],
    users_file: _File = None,
    config: _Config = None,
) -> None:
    """Change the role of a user, whose sessions end at once."""
    file, checked = _file(users_file, config), _checked(name)
    _replace(file, checked, lambda user: replace(user, role=Role(role)))
    typer.echo(f"{checked}: now {Role(role).value} in {file}")


@app.command()
def disable(name: _Name, users_file: _File = None, config: _Config = None) -> None:
    """Keep a user from logging in; the user's sessions end at once."""
    file, checked = _file(users_file, config), _checked(name)
    _replace(file, checked, lambda user: replace(user, is_disabled=True))
    typer.echo(f"{checked}: disabled in {file}")


@app.command()
def enable(name: _Name, users_file: _File = None, config: _Config = None) -> None:
    """Let a user that was disabled log in again."""
    file, checked = _file(users_file, config), _checked(name)
    _replace(file, checked, lambda user: replace(user, is_disabled=False))
    typer.echo(f"{checked}: enabled in {file}")


@app.command("list")
def list_(users_file: _File = None, config: _Config = None) -> None:
    """List the users and their roles."""
    from pipeline.console.access.users import read_users

    for user in sorted(read_users(_file(users_file, config)).values(), key=lambda user: user.name):
        typer.echo(f"{user.name}: {user.role.value}{', disabled' if user.is_disabled else ''}")


def _replace(file: Path, name: str, changed: Callable[[User], User]) -> None:
    from pipeline.console.access.users import edit_users

    def change(users: dict[str, User]) -> None:
        if name not in users:
            raise _missing(file, name)
        users[name] = changed(users[name])

    edit_users(file, change)


def _require(file: Path, name: str, *, there: bool) -> None:
    """Check a name before a password is asked for. Raises UsageError."""
    from pipeline.console.access.users import read_users

    if (name in read_users(file)) is not there:
        raise _missing(file, name) if there else _taken(file, name)


def _file(users_file: Path | None, config: Path | None) -> Path:
    if (users_file is None) == (config is None):
        raise UsageError("console users: expected --users-file or --config, one of the two")
    if users_file is not None:
        return users_file
    from pipeline.settings import load_either_site

    assert config is not None
    found = load_either_site(config).console.users_file
    if found is None:
        raise UsageError(f"{config}: console.users_file is missing; set it, or give --users-file")
    return found


def _checked(name: str) -> str:
    from pipeline.names import checked_name

    try:
        return checked_name(name)
    except ValueError as error:
        raise UsageError(f"user {name!r}: {error}") from None


def _password(name: str, file: Path | None) -> str:
    from pipeline.secret_file import read_secret

    if file is not None:
        return read_secret("password file", file)
    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    first = sys.stdin.readline(64 << 10).removesuffix("\n").removesuffix("\r")
    if not first:
        raise UsageError("password: standard input is empty; expected the password on its first line")
    return first


def _missing(file: Path, name: str) -> UsageError:
    return UsageError(f"console users {file}: no user {name}; `mistwatch console-users list` shows the names")


def _taken(file: Path, name: str) -> UsageError:
    return UsageError(f"console users {file}: {name} exists already; change it with the commands password and role")
