"""The HTTP API of signed links: one file of the evidence opens without a login until a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from pipeline.console.access import SignedLinks
from pipeline.console.access.audit import link_signed
from pipeline.console.documents import Answer, Problem
from pipeline.console.evidence_files import EvidenceFiles

_FOLDER = "/evidence/"
#: Longest life of a link, hours: a week.
_MOST_HOURS = 168
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "The evidence is not known"}}


class NewLink(BaseModel):
    """A link to be made."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=1000, pattern=f"^{_FOLDER}[^?#]+$", description="as the API names the picture or film")
    hours: Annotated[float, Field(gt=0, le=_MOST_HOURS, description="the link opens for so long")] = 24.0


class Link(Answer):
    """A link that opens without a login."""

    url: str = Field(description="path and query; the page puts the console's address before it")
    expires_at: datetime = Field(description="it opens before this, and until the console stops")


def links_router(evidence: EvidenceFiles) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api/links", tags=["evidence"])

    @router.post("", summary="Make a signed link to a picture or film", status_code=201, responses=_NOT_FOUND)
    def sign(wanted: NewLink, request: Request) -> Link:
        path = unquote(wanted.url)
        name = path.removeprefix(_FOLDER)
        if evidence.file(name) is None and evidence.key(name) is None:
            raise HTTPException(404, "this evidence is gone: it was older than the site keeps it, or was never here")
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=wanted.hours)
        links: SignedLinks = request.scope["mistwatch.links"]
        try:
            url = links.sign(path, int(ends.timestamp()))
        except ValueError:
            raise HTTPException(404, "a link to a file of this name cannot be signed") from None
        by, address = request.scope["mistwatch.user"].name, request.client.host if request.client else "local"
        link_signed(by, address, path, ends)
        return Link(url=url, expires_at=ends)

    return router
