"""The console's web application: pages, API, files. Who may use it is decided by a layer around it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.console.alerts_api import alerts_router
from pipeline.console.api import ConsoleParts, api_router
from pipeline.console.pages import error_page, pages_router

#: All that a page may load comes from the console itself; nothing inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
}
_STATIC = Path(__file__).with_name("static")


def create_app(parts: ConsoleParts) -> FastAPI:
    """Return the application.

    Routes: data below ``/api/``, files of alerts below ``/evidence/``, the pages' own files below ``/static/``, probes
    at ``/healthz`` and ``/readyz``, pages elsewhere. Requests that change something are POST with a JSON body. The
    acting user is ``scope["mistwatch.user"]``, with ``name`` and ``role``, where an outer layer sets it.
    """
    app = FastAPI(
        title="mistwatch console",
        version=version("mistwatch"),
        description="Cameras, alerts and judgements of a site. The console's pages use this API.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
    )
    app.include_router(api_router(parts))
    app.include_router(alerts_router(parts))
    app.include_router(pages_router(parts))
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/healthz", tags=["health"], summary="Alive")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], summary="The alerts were read and can be read", responses={503: {}})
    def readyz() -> dict[str, str]:
        if parts.readers is not None and not parts.readers.is_ready:
            raise HTTPException(503, "the topic of alerts cannot be read, or was not read to its end yet")
        return {"status": "ready"}

    @app.exception_handler(StarletteHTTPException)
    async def failed(request: Request, error: StarletteHTTPException) -> Response:
        if _wants_page(request):
            return error_page(error.status_code, str(error.detail))
        return JSONResponse({"detail": error.detail}, error.status_code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        detail = f"{place}: {first['msg']}" if place else str(first["msg"])
        return error_page(422, detail) if _wants_page(request) else JSONResponse({"detail": detail}, 422)

    app.add_middleware(_Headers)
    return app


def _wants_page(request: Request) -> bool:
    path = request.url.path
    return not path.startswith(("/api/", "/evidence/", "/static/", "/healthz", "/readyz"))


class _Headers:
    """Adds the headers of security to every answer that lacks them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                there = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in _HEADERS.items() if name not in there]
                if scope.get("path", "").startswith("/static/"):
                    headers.append((b"cache-control", b"no-cache"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
