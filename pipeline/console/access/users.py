"""The file of the console's users: names, argon2 hashes of their passwords, and roles."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import argon2
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from pipeline import files
from pipeline.access_settings import Role
from pipeline.errors import UsageError
from pipeline.names import Name
from pipeline.printable import printable
from pipeline.yaml_text import read_yaml

#: Costs beyond these would let a hash of the file stop the console. KiB and passes.
_MOST_MEMORY_KIB, _MOST_PASSES = 1 << 20, 50
#: No file of users is so long. Bytes.
_LONGEST_BYTES = 1 << 20


class UsersFileError(UsageError):
    """A file of users cannot be used. One line that names the file and never a hash."""


def _argon2(text: str) -> str:
    with suppress(argon2.exceptions.InvalidHashError, ValueError):
        cost = argon2.extract_parameters(text)
        if cost.type is argon2.Type.ID and cost.memory_cost <= _MOST_MEMORY_KIB and cost.time_cost <= _MOST_PASSES:
            return text
    raise ValueError("must be an argon2id hash of at most 1 GiB and 50 passes; `mistwatch console-users` makes it")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    hash: Annotated[str, AfterValidator(_argon2)]
    disabled: bool = False


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    users: dict[Name, _Entry]


@dataclass(frozen=True)
class User:
    """A user of the file; ``hash`` is that of the password. One that is disabled cannot log in."""

    name: str
    role: Role
    hash: str = field(repr=False)
    is_disabled: bool = False

    @property
    def proof(self) -> str:
        """Digest of the role and the hash: another one after a change of either."""
        return hashlib.sha256(f"{self.role}\n{self.hash}".encode()).hexdigest()


def read_users(path: Path) -> dict[str, User]:
    """Return the users of a file by name.

    Raises:
        UsersFileError: it cannot be read, or holds something else; or every user of the machine may write it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsersFileError(f"console users {path}: {reason}; make it with `mistwatch console-users add`") from None
    if mode & 0o002:
        raise UsersFileError(f"console users {path}: every user of this machine may write it; run `chmod 600` on it")
    try:
        document = _Document.model_validate(read_yaml(text))
    except yaml.YAMLError as error:  # its words may quote a hash
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UsersFileError(f"console users {path}: not valid YAML{line}; expected `users:`") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = printable(".".join(map(str, first["loc"]))) or "users"
        raise UsersFileError(f"console users {path}: {where}: {first['msg']}; expected a role and a hash") from None
    return {name: User(name, entry.role, entry.hash, entry.disabled) for name, entry in document.users.items()}


def edit_users(path: Path, change: Callable[[dict[str, User]], None], *, create: bool = False) -> None:
    """Change a file of users in full or not at all; only its owner can read the new one.

    Args:
        change: called with the users, which it changes; what it raises leaves the file as it is.
        create: take a missing file for an empty one.

    Raises:
        UsersFileError: as :func:`read_users`.
        MistwatchError: the file cannot be written.
    """
    place = Path(os.path.realpath(path))  # a link stays a link
    with files.writing(path), files.locked(place.parent):
        users = {} if create and not place.exists() else read_users(place)
        change(users)
        document = {"users": {user.name: _entry(user) for user in users.values()}}
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=True)
        with files.replacing(place) as draft:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)


def _entry(user: User) -> dict[str, str | bool]:
    disabled = {"disabled": True} if user.is_disabled else {}
    return {"role": user.role.value, "hash": user.hash, **disabled}


class UsersFile:
    """The users of a file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._users: Mapping[str, User] = {}
        self._problem: str | None = None

    def current(self) -> Mapping[str, User]:
        """Return the users by name.

        Raises:
            UsersFileError: as :func:`read_users`, at each call until the file is mended.
        """
        stamp = self._look()
        if stamp != self._stamp or not stamp:
            self._problem = None
            try:
                self._users = read_users(self._path)
            except UsersFileError as error:
                self._problem = str(error)
            self._stamp = stamp
        if self._problem is not None:
            raise UsersFileError(self._problem)
        return self._users

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode
