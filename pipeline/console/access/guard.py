"""The guard in front of the console: every request passes it, and every answer gets its headers."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.access_settings import Role
from pipeline.console.access import audit
from pipeline.console.access.access import Access, ConsoleUser
from pipeline.console.access.headers import secured
from pipeline.console.access.origins import host_allowed, is_foreign, origin_problem, token_matches
from pipeline.console.access.pages import Pages, continue_page
from pipeline.console.access.roles import SAFE, least_role
from pipeline.console.access.signed_links import confined
from pipeline.console.access.users import UsersFileError

#: Answered without a user and for any Host: an orchestrator asks by the address of the container.
_PROBES = frozenset({"/healthz", "/readyz"})
_METHODS = SAFE | {"POST", "PUT", "PATCH", "DELETE"}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
#: Paths whose refusals are JSON; elsewhere a browser is sent to the login.
_NOT_PAGES = ("/api/", "/evidence/", "/static/")


def protect(app: ASGIApp, access: Access) -> ASGIApp:
    """Return the application behind the guard.

    The application finds in ``request.scope`` ``mistwatch.user`` (a :class:`ConsoleUser`) and ``mistwatch.links``
    (:class:`SignedLinks`). The guard answers ``/login``, ``/login/…``, ``/logout`` and ``/api/session`` itself.
    """
    return _Guard(app, access)


class _Guard:
    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._pages = Pages(access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # a web socket: the console has none, and any site's page could open one
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, _with_headers(send, scope["path"], tls=self._access.tls))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["path"] in _PROBES and scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        refused = self._refused_by_origin(scope, headers)
        if refused is not None:
            await refused(scope, receive, send)
            return
        identity = cookie_parser(headers.get("cookie", "")).get(self._access.cookie, "")
        try:
            user = self._access.local or self._access.user_of(identity, _address(scope))
        except UsersFileError:  # logged; its line names a path, which is for the log only
            await _refusal(503, "The users of the console cannot be read; see its log.")(scope, receive, send)
            return
        answer = self._own_answer(scope, headers, user, identity)
        if answer is not None:
            await answer(scope, receive, send)
            return
        if scope["path"] in self._pages.paths:
            await (await self._pages.answer(Request(scope, receive), user, identity))(scope, receive, send)
            return
        if user is None:
            user = ConsoleUser("link", Role.VIEWER, "")  # signed: _own_answer refuses every other request
        else:
            self._access.sessions.use(identity, self._access.clock())
        inner = {**scope, "mistwatch.user": user, "mistwatch.links": self._access.links}
        if self._access.local is not None or user.csrf_token == "":
            await self._app(inner, receive, send)
            return
        await self._while_open(inner, receive, send, identity)

    def _refused_by_origin(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse requests that reach this console under another name, or from another site's page."""
        address, method = _address(scope), scope["method"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not host_allowed(hosts[0], self._access.host, self._access.names):
            audit.denied(None, address, method, scope["path"], "Host is not this console")
            return _refusal(421, "This is not the console's name; an administrator can add it to console.names.")
        if self._access.local is not None and any(name in headers for name in _FORWARDED):
            audit.denied(None, address, method, scope["path"], "forwarded by a proxy, and no login is configured")
            return _refusal(403, "A proxy forwards to a console without a login; configure users.")
        if method not in _METHODS:
            return _refusal(405, "This method is not served.")
        if is_foreign(headers):
            audit.denied(None, address, method, scope["path"], "loaded by another site's page")
            return _refusal(403, "Another site's page cannot load this.")
        return None

    def _own_answer(self, scope: Scope, headers: Headers, user: ConsoleUser | None, identity: str) -> Response | None:
        """Return the refusal of a request, or the way to the login; None where it may go on."""
        method, path = scope["method"], scope["path"]
        problem = None if method in SAFE else origin_problem(headers, tls=self._access.tls)
        if problem is not None:
            return self._denied(scope, user, problem, "This request does not come from the console's own page.")
        if path in self._pages.without_login:
            return None
        if path.startswith("/evidence/") and not confined(path):
            return _refusal(404, "The evidence is not known.")
        if user is None:
            if method in SAFE and self._access.links.verify(path, scope["query_string"], self._access.wall_clock()):
                return None
            return self._to_login(scope, headers, identity)
        has_token = token_matches(headers.get("x-csrf-token"), user.csrf_token)
        if method not in SAFE and not has_token and path != "/logout":  # whose form may carry it as a field
            return self._denied(scope, user, "no valid CSRF token", "The header X-CSRF-Token is missing or wrong.")
        least = least_role(method, path, self._access.rules) if path not in self._pages.paths else Role.VIEWER
        if least is None or not user.role.includes(least):
            needed = "allowed to no role" if least is None else f"needs the role {least}"
            return self._denied(scope, user, needed, f"This is not allowed for the role {user.role}.")
        return None

    def _to_login(self, scope: Scope, headers: Headers, identity: str) -> Response:
        path = scope["path"]
        is_page = scope["method"] in SAFE and not path.startswith(_NOT_PAGES)
        if not is_page:
            return _refusal(401, "Log in first.")
        target = quote(path) + (f"?{quote(scope['query_string'], safe='=&%+')}" if scope["query_string"] else "")
        if not identity and headers.get("sec-fetch-site") == "cross-site":
            return continue_page(target)
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)

    def _denied(self, scope: Scope, user: ConsoleUser | None, reason: str, text: str) -> Response:
        audit.denied(user.name if user else None, _address(scope), scope["method"], scope["path"], reason)
        return _refusal(403, text)

    async def _while_open(self, scope: Scope, receive: Receive, send: Send, identity: str) -> None:
        """Run the application, and end its answer when the session ends: a stream of events may last for hours."""
        ended = False

        async def sending(message: Message) -> None:
            nonlocal ended
            is_stream = message.get("more_body", False)  # a short answer may say what ended the session itself
            if is_stream and not self._still_open(identity, scope):
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            if ended:
                raise OSError("the session has ended")  # as a client that has gone
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except OSError:
            if not ended:
                raise

    def _still_open(self, identity: str, scope: Scope) -> bool:
        try:
            return self._access.user_of(identity, _address(scope)) is not None
        except UsersFileError:
            return False


def _with_headers(send: Send, path: str, *, tls: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": secured(message.get("headers", ()), path, tls=tls)}
        await send(message)

    return sending


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else "local"
