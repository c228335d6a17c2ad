"""The HTTP API of the console's users: list, add, disable, another role or password. The guard lets admins in only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.requests import Request

from pipeline.access_settings import Role
from pipeline.console.access import audit
from pipeline.console.access.passwords import LONGEST, SHORTEST, hash_password
from pipeline.console.access.users import User, UsersFileError, edit_users, read_users
from pipeline.console.documents import Answer, Problem
from pipeline.errors import MistwatchError, UsageError
from pipeline.names import Name

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "Not known"},
    409: {"model": Problem, "description": "No file of users, a name that is taken, or no admin would be left"},
    503: {"model": Problem, "description": "The file of users cannot be read or written"},
}
UserName = Annotated[str, PathParameter(max_length=64, description="name of the user")]


class UserAnswer(Answer):
    """A user of the console; the password's hash is never shown."""

    name: str
    role: Role
    is_disabled: bool = Field(description="cannot log in, and has no session")
    is_you: bool = Field(description="sent this request")


class Users(Answer):
    """All users, by name."""

    users: list[UserAnswer]


class NewUser(BaseModel):
    """A user to be added."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Role = Role.VIEWER
    password: SecretStr = Field(description=f"{SHORTEST} to {LONGEST} characters")


class UserChange(BaseModel):
    """Changes of a user; null keeps the old value. The user's sessions end with their next request."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    is_disabled: bool | None = None
    password: SecretStr | None = Field(None, description=f"{SHORTEST} to {LONGEST} characters")


def users_router(file: Path | None) -> APIRouter:
    """Return the routes.

    Args:
        file: of the users; None: the console has none, and every route answers 409.
    """
    router = APIRouter(prefix="/api/users", tags=["users"], responses=_PROBLEMS)
    hashing = threading.Lock()  # 64 MiB each

    def hashed(password: SecretStr) -> str:
        with hashing:
            try:
                return hash_password(password.get_secret_value())
            except UsageError as error:
                raise HTTPException(422, str(error)) from None

    def edit(change: Callable[[dict[str, User]], None]) -> None:
        try:
            edit_users(_required(file), change)
        except MistwatchError as error:
            raise HTTPException(503, _public(error)) from None

    @router.get("", summary="List the users")
    def users(request: Request) -> Users:
        try:
            known = read_users(_required(file))
        except MistwatchError as error:
            raise HTTPException(503, _public(error)) from None
        return Users(users=[_answer(known[name], request) for name in sorted(known)])

    @router.post("", summary="Add a user", status_code=201)
    def add(wanted: NewUser, request: Request) -> UserAnswer:
        user = User(wanted.name, wanted.role, hashed(wanted.password))

        def change(known: dict[str, User]) -> None:
            if user.name in known:
                raise HTTPException(409, f"user {user.name}: there is one of this name; change that one")
            known[user.name] = user

        edit(change)
        audit.user_changed(user.name, _by(request), _address(request), f"added as {user.role}")
        return _answer(user, request)

    @router.patch("/{name}", summary="Disable or enable a user, or change the role or the password")
    def patch(name: UserName, wanted: UserChange, request: Request) -> UserAnswer:
        password = None if wanted.password is None else hashed(wanted.password)
        changed: list[User] = []

        def change(known: dict[str, User]) -> None:
            if name not in known:
                raise HTTPException(404, f"user {name}: not known; the list of users has the names")
            old = known[name]
            known[name] = replace(
                old,
                role=wanted.role or old.role,
                hash=password or old.hash,
                is_disabled=old.is_disabled if wanted.is_disabled is None else wanted.is_disabled,
            )
            if _is_admin(old) and not any(map(_is_admin, known.values())):
                raise HTTPException(409, f"user {name}: is the last admin who can log in; make another admin first")
            changed.append(known[name])

        edit(change)
        audit.user_changed(name, _by(request), _address(request), _described(wanted))
        return _answer(changed[0], request)

    return router


def _required(file: Path | None) -> Path:
    if file is None:
        raise HTTPException(409, "this console has no file of users; set console.users_file to have one")
    return file


def _public(error: MistwatchError) -> str:
    """Return an error without the path, which is for the log only."""
    audit.users_unusable(str(error))
    reason = "be read" if isinstance(error, UsersFileError) else "be written"
    return f"the file of users cannot {reason}; see the console's log"


def _is_admin(user: User) -> bool:
    return user.role is Role.ADMIN and not user.is_disabled


def _described(wanted: UserChange) -> str:
    parts = [
        None if wanted.role is None else f"role {wanted.role}",
        None if wanted.password is None else "another password",
        None if wanted.is_disabled is None else ("disabled" if wanted.is_disabled else "enabled"),
    ]
    return ", ".join(part for part in parts if part) or "nothing"


def _answer(user: User, request: Request) -> UserAnswer:
    return UserAnswer(name=user.name, role=user.role, is_disabled=user.is_disabled, is_you=user.name == _by(request))


def _by(request: Request) -> str:
    return str(request.scope["mistwatch.user"].name)


def _address(request: Request) -> str:
    return request.client.host if request.client else "local"
