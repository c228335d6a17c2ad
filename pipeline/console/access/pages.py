"""Pages and answers of the guard itself: login, logout, the session of the page."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from urllib.parse import parse_qs

import jinja2
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline.access_settings import Role
from pipeline.console.access import audit
from pipeline.console.access.access import Access, ConsoleUser
from pipeline.console.access.local_target import local_target
from pipeline.console.access.origins import token_matches
from pipeline.console.access.passwords import TooManyLoginsError
from pipeline.console.access.roles import SAFE
from pipeline.console.access.single_sign_on import SingleSignOn
from pipeline.console.access.users import UsersFileError

_FOLDER = Path(__file__).parent
_templates = jinja2.Environment(loader=jinja2.FileSystemLoader(_FOLDER / "templates"), autoescape=True)
#: A form with the longest name and password, encoded. Bytes.
_LONGEST_FORM = 16 << 10


class Pages:
    """Answers at the paths that belong to the guard.

    Attributes:
        paths: all of them.
        without_login: those that are open to everyone.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.without_login = frozenset({"/login", "/login/style.css"})
        self._single_sign_on = None if access.oidc is None else SingleSignOn(access, access.oidc, self)
        if self._single_sign_on is not None:
            self.without_login |= self._single_sign_on.paths
        self.paths = self.without_login | {"/logout", "/api/session"}

    async def answer(self, request: Request, user: ConsoleUser | None, identity: str) -> Response:
        """Return the answer to a request at one of ``paths``.

        Args:
            user: None at those without a login only.
            identity: id of the browser's session; empty: it has none.
        """
        path, method = request.scope["path"], request.scope["method"]
        if path == "/login/style.css" and method in SAFE:
            return FileResponse(_FOLDER / "static" / "login.css")
        if path == "/login" and method in SAFE:
            if user is not None:
                return RedirectResponse(local_target(request.query_params.get("next", "")), 303)
            return self.login_page(request.query_params.get("next", ""))
        if path == "/login" and method == "POST" and (self._access.asks_for_password or self._access.local is not None):
            if self._access.local is not None:
                return RedirectResponse("/", 303)
            return await self._log_in(request, identity)
        if self._single_sign_on is not None and path in self._single_sign_on.paths and method == "GET":
            return await self._single_sign_on.answer(request, identity)
        if path == "/logout" and method == "POST" and user is not None:
            return await self._log_out(request, user, identity)
        if path == "/api/session" and method in SAFE and user is not None:
            open_ = self._access.local is not None
            names = {
                "name": user.name,
                "role": user.role.value,
                "login": not open_,
                "users": self._access.asks_for_password,
            }
            return JSONResponse({**names, "csrf_token": user.csrf_token})
        return JSONResponse({"detail": "This method is not served here."}, 405)

    def begin_session(self, name: str, role: Role, proof: str, previous: str, target: str) -> Response:
        """Begin a session under a new id, end the browser's previous one, and return the way to ``target``."""
        self._access.sessions.end(previous)
        identity, _ = self._access.sessions.begin(name, role, proof, self._access.clock())
        answer = RedirectResponse(target, 303)
        answer.set_cookie(
            self._access.cookie, identity, path="/", secure=self._access.secure, httponly=True, samesite="strict"
        )
        return answer

    def login_page(self, target: str, *, problem: str = "", status: int = 200) -> HTMLResponse:
        """Return the page with the form, and with a line about a problem."""
        text = _templates.get_template("login.html").render(
            problem=problem,
            target=local_target(target),
            password=self._access.asks_for_password,
            single_sign_on=self._access.oidc is not None,
        )
        return HTMLResponse(text, status)

    async def _log_in(self, request: Request, identity: str) -> Response:
        form = await _form(request)
        if form is None:
            return JSONResponse({"detail": "The form is too long."}, 413)
        name, password = unicodedata.normalize("NFC", form.get("name", "")), form.get("password", "")
        target, address = form.get("next", ""), _address(request)
        try:
            users = self._access.users()
        except UsersFileError:
            return self.login_page(target, problem="The users of the console cannot be read; see its log.", status=503)
        known = name if name in users else None
        attempt = self._access.limits.begin(name, address, self._access.clock())
        if attempt.wait_seconds > 0:
            audit.login_failed(known, address, "too many failures; delayed")
            return self._later(target, math.ceil(attempt.wait_seconds))
        try:
            user = await self._access.passwords.judge(users, name, password)
        except TooManyLoginsError:
            self._access.limits.take_back(attempt)
            audit.login_failed(known, address, "too many logins at a time")
            return self._later(target, 2)
        except BaseException:
            self._access.limits.take_back(attempt)
            raise
        if user is None:
            audit.login_failed(known, address, "wrong name or password")
            return self.login_page(target, problem="The name or the password is wrong.", status=401)
        self._access.limits.succeed(attempt)
        audit.logged_in(user.name, user.role, address)
        return self.begin_session(user.name, user.role, user.proof, identity, local_target(target))

    def _later(self, target: str, seconds: int) -> HTMLResponse:
        answer = self.login_page(target, problem=f"Too many logins failed. Try again in {seconds} s.", status=429)
        answer.headers["Retry-After"] = str(seconds)
        return answer

    async def _log_out(self, request: Request, user: ConsoleUser, identity: str) -> Response:
        sent = request.headers.get("x-csrf-token") or (await _form(request) or {}).get("csrf_token")
        if not token_matches(sent, user.csrf_token):
            audit.denied(user.name, _address(request), "POST", "/logout", "no valid CSRF token")
            return JSONResponse({"detail": "The CSRF token is missing or wrong."}, 403)
        if self._access.local is not None:
            return RedirectResponse("/", 303)
        self._access.sessions.end(identity)
        audit.logged_out(user.name, _address(request))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(
            self._access.cookie, path="/", secure=self._access.secure, httponly=True, samesite="strict"
        )
        return answer


def continue_page(target: str) -> HTMLResponse:
    """Return a page that loads ``target`` again: a link from another site came without the SameSite=Strict cookie."""
    return HTMLResponse(_templates.get_template("continue.html").render(target=local_target(target)))


async def _form(request: Request) -> dict[str, str] | None:
    """Return the fields of a short form, None where it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _address(request: Request) -> str:
    return request.client.host if request.client else "local"
