"""A small application behind the console's guard, on a real uvicorn server on loopback."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import argon2
import httpx
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pipeline.console.access import Access, AccessSettings, protect, server_options

#: Cost of hashes in tests: cheap to compute. The product's own cost is measured by one test.
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def write_users(path: Path, **users: tuple[str, str]) -> Path:
    """Write a file of users: role and password by name."""
    entries = {name: {"role": role, "hash": CHEAP.hash(password)} for name, (role, password) in users.items()}
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump({"users": entries}))
    draft.chmod(0o600)
    draft.replace(path)
    return path


async def _whoami(request: Request) -> Response:
    user = request.scope["mistwatch.user"]
    return JSONResponse(
        {"name": user.name, "role": user.role, "method": request.method},
        headers={"server": "inner", "cache-control": "public, max-age=99", "content-security-policy": "default-src *"},
    )


async def _probe(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _static(_: Request) -> Response:
    return PlainTextResponse("script", headers={"cache-control": "max-age=60"})


async def _stream(_: Request) -> Response:
    async def events() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(events(), media_type="text/event-stream")


def inner() -> Starlette:
    """Return an application that answers with the user it was given."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(
        routes=[
            Route("/healthz", _probe),
            Route("/static/{path:path}", _static),
            Route("/api/stream", _stream),
            Route("/{path:path}", _whoami, methods=methods),
        ]
    )


@dataclass
class Console:
    """A running server.

    Attributes:
        access: its state, with ``clock`` and ``wall``, which tests set.
        url: ``http://127.0.0.1:PORT``; https with TLS.
    """

    access: Access
    clock: Clock
    wall: Clock
    url: str
    ca: Path | None = None

    def browser(self, **headers: str) -> httpx.Client:
        """Return a client that keeps cookies and sends Origin, as a browser on the console's own pages does."""
        verify = ssl.create_default_context(cafile=self.ca) if self.ca else False  # loading authorities takes long
        return httpx.Client(
            base_url=self.url, headers={"origin": self.url, **headers}, verify=verify, timeout=30, trust_env=False
        )

    @contextmanager
    def logged_in(self, name: str, password: str) -> Iterator[httpx.Client]:
        """Yield a browser in which a user has logged in; its requests carry the token."""
        with self.browser() as browser:
            answer = browser.post("/login", data={"name": name, "password": password})
            assert answer.status_code == 303, answer.text
            browser.headers["x-csrf-token"] = browser.get("/api/session").json()["csrf_token"]
            yield browser


@contextmanager
def guarded(settings: AccessSettings, *, host: str = "127.0.0.1", ca: Path | None = None) -> Iterator[Console]:
    """Run the application behind the guard; stops at the end in any case.

    Args:
        host: the host that the guard takes for the bound one; the server listens on loopback always.
    """
    clock, wall = Clock(1000.0), Clock(1_800_000_000.0)
    access = Access(settings, host, clock=clock, wall_clock=wall)
    config = uvicorn.Config(
        protect(inner(), access), host="127.0.0.1", port=0, log_level="error", **server_options(settings)
    )
    config.timeout_graceful_shutdown = 2
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="guarded-console", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start within 30 s"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        scheme = "https" if settings.certificate else "http"
        yield Console(access, clock, wall, f"{scheme}://127.0.0.1:{port}", ca)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
