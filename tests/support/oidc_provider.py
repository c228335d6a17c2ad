"""A small provider of OpenID Connect over HTTP on loopback, which signs its tokens with a key of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT, SECRET = "console", "the-clients-secret-7c1d"


class OidcProvider:
    """A provider with one user, who logs in without being asked.

    Attributes:
        issuer: ``http://127.0.0.1:PORT``.
        now: Unix time of its tokens.
        claims: of the user; they replace those of the protocol, too.
        key: signs; tests set another one to forge.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "olga", "groups": ["staff", "guards"]}
        self.own = self.key = jwk.RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
        self.algorithm = "RS256"
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                provider._get(self, parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                provider._token(self, {key: value[0] for key, value in parse_qs(body).items()})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _get(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            _send(handler, {"issuer": self.issuer} | {key: f"{self.issuer}/{name}" for key, name in names.items()})
        elif path == "/keys":
            _send(handler, {"keys": [self.own.as_dict(private=False)]})
        elif path == "/authorize":
            right = query["response_type"] == "code" and query["client_id"] == CLIENT
            right = right and "openid" in query["scope"].split() and query["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(16)
            self._codes[code] = query
            answer = {"code": code} if right else {"error": "invalid_request"}
            handler.send_response(303)
            handler.send_header("location", f"{query['redirect_uri']}?{urlencode(answer | {'state': query['state']})}")
            handler.end_headers()

    def _token(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        right = handler.headers["authorization"] == basic and form["grant_type"] == "authorization_code"
        if asked is None or not right or asked["code_challenge"] != challenge:
            _send(handler, {"error": "invalid_grant"}, 400)
            return
        now = int(self.now)
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        token = jwt.encode({"alg": self.algorithm, "kid": "k1"}, claims | self.claims, self.key)
        _send(handler, {"access_token": "a", "token_type": "Bearer", "id_token": token})


def _send(handler: BaseHTTPRequestHandler, document: dict[str, Any], status: int = 200) -> None:
    body = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
