"""Settings of the webhook sink."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: Holds the signing secret where no file is named.
SECRET_VARIABLE = "MISTWATCH_WEBHOOK_SECRET"  # noqa: S105  (a name)


class WebhookSettings(BaseModel):
    """Settings of the sink."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(description="http:// or https:// address that receives the events")
    secret_file: Path | None = Field(
        None, description=f"file with the signing secret, whsec_…; default: the environment's {SECRET_VARIABLE}"
    )
    timeout_seconds: float = Field(10.0, gt=0, le=120, description="limit of one whole exchange")
    tls_ca: Path | None = Field(None, description="PEM file of the authority to trust; default: the system's")

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        problem = "must be http://HOST[:PORT][/PATH] or https://…"
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError(problem) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[!-~]+", url):
            raise ValueError(problem)
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not hold a user or a password; the signature shows who sends")
        return url
