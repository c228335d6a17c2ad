"""The pages' shells; their content comes from the API by the modules in ``static``."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, HTTPException
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipeline.console.api import ConsoleParts

_TITLES = {404: "Not found", 405: "Not possible", 422: "Not understood", 503: "Not now"}


def pages_router(parts: ConsoleParts) -> APIRouter:
    """Return the routes of the pages; they are not a part of the API's description."""
    router = APIRouter(include_in_schema=False)
    state = parts.state

    @router.get("/")
    def wall() -> Response:
        return page("wall", "Wall")

    @router.get("/cameras/{camera}")
    def camera(camera: str) -> Response:
        with state.lock:
            is_known = state.cameras.get(camera) is not None
        if not is_known:
            raise HTTPException(404, f"No camera named {camera[:80]} is on the topics. Is its worker running?")
        return page("camera", camera, subject=camera)

    @router.get("/alerts")
    def alerts() -> Response:
        return page("alerts", "Alerts")

    @router.get("/alerts/{alert_id}")
    def alert(alert_id: str) -> Response:
        with state.lock:
            entry = state.alerts.named(alert_id)
        if entry is None:
            raise HTTPException(
                404,
                f"No alert {alert_id[:64]} is among those that the console holds. It may be older than the topic "
                "keeps, or belong to another site.",
            )
        return page("alert", f"Alert {entry.id[:8]}", subject=entry.id)

    @router.get("/groups")
    def groups() -> Response:
        return page("groups", "Groups")

    @router.get("/health")
    def health() -> Response:
        return page("health", "Health")

    @router.get("/users")
    def users() -> Response:
        return page("users", "Users")

    @router.get("/favicon.ico")
    def favicon() -> Response:
        return RedirectResponse("/static/icon.svg")

    return router


def page(view: str, title: str, *, subject: str = "", status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page's shell.

    Args:
        view: name of its module in ``static``, and of its place in the navigation.
        subject: camera or alert that it is about.
    """
    text = _templates().get_template("page.html").render(view=view, title=title, subject=subject, problem="", **values)
    return HTMLResponse(text, status, {"cache-control": "no-store"})


def error_page(status: int, problem: str) -> HTMLResponse:
    """Return a page that explains an error."""
    title = _TITLES.get(status, "That did not work")
    text = _templates().get_template("page.html").render(view="error", title=title, subject="", problem=problem)
    return HTMLResponse(text, status, {"cache-control": "no-store"})


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("pipeline.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
