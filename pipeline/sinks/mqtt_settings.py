"""Settings of the MQTT sink. Nothing here imports the client: most commands read a configuration and need no broker."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

#: Holds the password where no file is named.
PASSWORD_VARIABLE = "MISTWATCH_MQTT_PASSWORD"  # noqa: S105  (a name)


class MqttSettings(BaseModel):
    """Settings of the sink."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", min_length=1, pattern=r"^[^\s/@]+$", description="host of the broker, MQTT 5")
    port: int = Field(1883, ge=1, le=65535, description="1883, or 8883 with TLS, by custom")
    user: str | None = Field(None, description="user at the broker; needs a password")
    password_file: Path | None = Field(
        None, description=f"file with the password on its first line; default: the environment's {PASSWORD_VARIABLE}"
    )
    tls: bool = Field(False, description="encrypt the connection, trusting the system's authorities")
    tls_ca: Path | None = Field(None, description="PEM file of the authority to trust instead; switches TLS on")
    client_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="name of this worker at the broker; needed where workers with files of their own share a site; "
        "in a group the worker's name is added; default: a random one",
    )
    timeout_seconds: float = Field(10.0, gt=0, le=120, description="limit of one acknowledgement")
    home_assistant: bool = Field(False, description="announce each camera to Home Assistant as a binary sensor")
    discovery_prefix: str = Field(
        "homeassistant", pattern=r"^[^\s+#]+$", description="Home Assistant's topic for announcements"
    )

    @property
    def encrypted(self) -> bool:
        """Return whether the connection uses TLS."""
        return self.tls or self.tls_ca is not None
