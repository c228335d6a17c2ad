"""Single sign-on by OpenID Connect: authorization code with PKCE, the provider found by its issuer, roles by a claim.

Authlib makes the requests, joserfc verifies the token; both are imported by a site with ``console.oidc`` only.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from pipeline.access_settings import OidcSettings, Role
from pipeline.console.access.origins import is_loopback
from pipeline.errors import MistwatchError
from pipeline.printable import printable
from pipeline.secret_file import read_secret

#: Signatures that are accepted; never a symmetric one or none.
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
#: Limits of a request and of a login at the provider, and of the clocks' difference. Seconds.
_REQUEST_SECONDS, LOGIN_SECONDS, _LEEWAY_SECONDS = 10.0, 600.0, 60
#: Logins that wait for their user at the provider; the oldest is forgotten.
_MOST_PENDING = 1000
#: The provider's description is kept for so long. Seconds.
_KEPT_SECONDS = 3600.0


class OidcError(MistwatchError):
    """A login by the provider failed. One line without a token or secret."""


@dataclass(frozen=True)
class _Pending:
    browser: bytes
    nonce: str
    verifier: str
    redirect_uri: str
    target: str
    began: float


@dataclass(frozen=True)
class Identity:
    """A user as the provider describes it; ``target`` is the path to go on to."""

    name: str
    role: Role
    target: str


class Oidc:
    """Logins at one provider. Methods that send requests block; call them on a thread.

    Args:
        clock: monotonic seconds.
        wall_clock: Unix time, which tokens are checked against.
    """

    def __init__(self, settings: OidcSettings, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._settings, self._clock, self._wall_clock = settings, clock, wall_clock
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._described: tuple[float, dict[str, Any]] | None = None
        self._secret()  # a missing file is found at the start

    def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """Return the provider's address to send the browser to, and a secret for a cookie of the browser.

        Raises:
            OidcError: the provider cannot be reached or describes itself wrongly.
        """
        endpoint = self._endpoint("authorization_endpoint")
        browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        with self._session(redirect_uri) as session:
            address, state = session.create_authorization_url(
                endpoint, state=secrets.token_urlsafe(32), nonce=nonce, code_verifier=verifier
            )
        self._pending[state] = _Pending(_digest(browser), nonce, verifier, redirect_uri, target, self._clock())
        while len(self._pending) > _MOST_PENDING:
            self._pending.popitem(last=False)
        return str(address), browser

    def finish(self, answer: Mapping[str, str], browser: str) -> Identity:
        """Return the user of the provider's answer.

        Args:
            answer: query of the address that the provider sent the browser to.
            browser: the cookie's secret: an answer of another browser's login is refused.

        Raises:
            OidcError: it is not the answer to a login of this browser, or the provider vouches for no user.
        """
        pending = self._pending.pop(answer.get("state", ""), None)
        if pending is None or self._clock() - pending.began >= LOGIN_SECONDS:
            raise OidcError("single sign-on: the login is unknown or too old; log in again")
        if not hmac.compare_digest(_digest(browser), pending.browser):
            raise OidcError("single sign-on: the login began in another browser; log in again")
        if "error" in answer or "code" not in answer:
            raise OidcError(f"single sign-on: the provider refused ({printable(answer.get('error', 'no code')[:60])})")
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise OidcError("single sign-on: the answer is from another issuer")
        claims = self._claims(answer["code"], pending)
        return Identity(self._name(claims), self._role(claims), pending.target)

    def _claims(self, code: str, pending: _Pending) -> dict[str, Any]:
        endpoint, keys = self._endpoint("token_endpoint"), self._get(self._endpoint("jwks_uri"))
        expected: dict[str, Any] = {
            name: {"essential": True, "value": value}
            for name, value in (
                ("iss", self._settings.issuer),
                ("aud", self._settings.client_id),
                ("nonce", pending.nonce),
            )
        }
        for name in ("exp", "iat", "sub"):
            expected[name] = {"essential": True}
        try:
            with self._session(pending.redirect_uri) as session:
                token = session.fetch_token(
                    endpoint, code=code, code_verifier=pending.verifier, timeout=_REQUEST_SECONDS
                )
            decoded = jwt.decode(str(token["id_token"]), KeySet.import_key_set(keys), algorithms=_ALGORITHMS)  # type: ignore[arg-type]
            registry = jwt.JWTClaimsRegistry(int(self._wall_clock()), _LEEWAY_SECONDS, **expected)
            registry.validate(decoded.claims)
        except (AuthlibBaseError, JoseError, requests.RequestException, KeyError, TypeError, ValueError) as error:
            raise OidcError(f"single sign-on: no valid token from the provider ({type(error).__name__})") from None
        claims = decoded.claims
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._settings.client_id:
            raise OidcError("single sign-on: the token was issued to another client")
        return claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._settings.name_claim)
        return printable(name if isinstance(name, str) and name else str(claims["sub"]))[:64]

    def _role(self, claims: Mapping[str, Any]) -> Role:
        value = claims.get(self._settings.role_claim)
        held = value if isinstance(value, list) else [value]
        roles = [role for group, role in self._settings.roles.items() if group in held]
        if not roles:
            raise OidcError("single sign-on: none of the user's groups has a role in console.oidc.roles")
        return max(roles, key=list(Role).index)

    def _endpoint(self, name: str) -> str:
        issuer = self._settings.issuer
        if self._described is None or self._clock() - self._described[0] >= _KEPT_SECONDS:
            document = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if document.get("issuer") != issuer:
                raise OidcError(
                    f"single sign-on: {issuer} describes itself as another issuer; correct console.oidc.issuer"
                )
            self._described = self._clock(), document
        address = self._described[1].get(name)
        parts = urlsplit(address) if isinstance(address, str) else None
        if parts is None or not (parts.scheme == "https" or is_loopback(parts.hostname or "")):
            raise OidcError(f"single sign-on: {issuer} has no {name} over https")
        return str(address)

    def _get(self, address: str) -> dict[str, Any]:
        try:
            with self._session("") as session:
                answer = session.request("GET", address, withhold_token=True, timeout=_REQUEST_SECONDS)
            answer.raise_for_status()
            document = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise OidcError(f"single sign-on: {address} cannot be read ({type(error).__name__})") from None
        if not isinstance(document, dict):
            raise OidcError(f"single sign-on: {address}: expected a JSON object")
        return document

    def _session(self, redirect_uri: str) -> Any:
        session = OAuth2Session(
            self._settings.client_id,
            self._secret(),
            scope=" ".join(self._settings.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        session.max_redirects = 0
        if self._settings.ca is not None:
            session.verify = str(self._settings.ca)
        return session

    def _secret(self) -> str:
        if self._settings.client_secret_file is not None:
            return read_secret("console OIDC secret file", self._settings.client_secret_file)
        assert self._settings.client_secret is not None
        return self._settings.client_secret.get_secret_value()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
