"""The console's web application: pages, API, files. The guard around it decides who may use it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from pipeline.console.alerts_api import alerts_router
from pipeline.console.api import ConsoleParts, api_router
from pipeline.console.changes_api import changes_router
from pipeline.console.links_api import links_router
from pipeline.console.pages import error_page, pages_router
from pipeline.console.users_api import users_router

_STATIC = Path(__file__).with_name("static")


def create_app(parts: ConsoleParts) -> FastAPI:
    """Return the application.

    Routes: data below ``/api/``, files of alerts below ``/evidence/``, the pages' own files below ``/static/``, probes
    at ``/healthz`` and ``/readyz``, pages elsewhere. Requests that change something have a JSON body, if any. The
    acting user is ``scope["mistwatch.user"]``, which the guard around it sets (:mod:`pipeline.console.access`).
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
    app.include_router(changes_router(parts))
    app.include_router(users_router(parts.users_file))
    app.include_router(links_router(parts.evidence))
    app.include_router(pages_router(parts))
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/healthz", tags=["health"], summary="Alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}  # without a thread: they may all wait for something

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
        message = str(first["msg"]).removeprefix("Value error, ")
        detail = f"{place}: {message}" if place else message
        return error_page(422, detail) if _wants_page(request) else JSONResponse({"detail": detail}, 422)

    return app


def _wants_page(request: Request) -> bool:
    path = request.url.path
    return not path.startswith(("/api/", "/evidence/", "/static/", "/healthz", "/readyz"))
