"""Answers of the guard for single sign-on: the way to the provider, and the return from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pipeline.access_settings import Role
from pipeline.console.access import audit
from pipeline.console.access.access import OIDC_PROOF, Access
from pipeline.console.access.local_target import local_target
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.console.access.oidc import Oidc

#: The user logs in at the provider within so long. Seconds.
_LOGIN_SECONDS = 600


class LoginAnswers(Protocol):
    """Answers that every kind of login has."""

    def login_page(self, target: str, *, problem: str = "", status: int = 200) -> Response:
        """Return the page with the form, and with a line about a problem."""

    def begin_session(self, name: str, role: Role, proof: str, previous: str, target: str) -> Response:
        """Begin a session and return the way to ``target``."""


class SingleSignOn:
    """Answers at ``/login/oidc`` and ``/login/callback``."""

    def __init__(self, access: Access, oidc: Oidc, answers: LoginAnswers) -> None:
        self._access, self._oidc, self._answers = access, oidc, answers
        self.paths = frozenset({"/login/oidc", "/login/callback"})
        #: Lax: the provider's page sends the browser back, and that request needs it.
        self._cookie = "__Host-mistwatch-login" if access.secure else "mistwatch-login"

    async def answer(self, request: Request, identity: str) -> Response:
        """Return the answer to a request at one of ``paths``.

        Args:
            identity: id of the browser's session; empty: it has none.
        """
        address = request.client.host if request.client else "local"
        try:
            if request.scope["path"] == "/login/oidc":
                return await self._leave(request)
            return await self._return(request, identity, address)
        except MistwatchError as error:  # OidcError, or a secret's file that has gone
            audit.login_failed(None, address, str(error))
            return self._answers.login_page("", problem="Single sign-on failed; see the console's log.", status=401)

    async def _leave(self, request: Request) -> Response:
        scheme = "https" if self._access.tls else "http"
        back = f"{scheme}://{request.headers['host']}/login/callback"  # the guard has checked the Host
        target = local_target(request.query_params.get("next", ""))
        there, browser = await anyio.to_thread.run_sync(self._oidc.begin, back, target)
        answer = RedirectResponse(there, 303)
        answer.set_cookie(
            *(self._cookie, browser, _LOGIN_SECONDS),
            path="/",
            secure=self._access.secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    async def _return(self, request: Request, identity: str, address: str) -> Response:
        parameters = dict(request.query_params)
        browser = request.cookies.get(self._cookie, "")
        found = await anyio.to_thread.run_sync(self._oidc.finish, parameters, browser)
        audit.logged_in(found.name, found.role, address, by="oidc")
        answer = self._answers.begin_session(found.name, found.role, OIDC_PROOF, identity, found.target)
        answer.delete_cookie(self._cookie, path="/", secure=self._access.secure, httponly=True, samesite="lax")
        return answer
