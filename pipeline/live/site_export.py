"""A site as a file: all settings that are in force, without secrets, and where those come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.settings import CameraSettings, GroupSite, Site
from pipeline.sinks.kafka_security import KafkaSecurity
from pipeline.sources.credentials import redact_location, split

#: Longest line of a list in brackets, characters.
_WIDTH = 120


def exported_site(site: Site) -> str:
    """Return the site as YAML that loads to the same site, from any folder: without defaults, paths absolute.

    Secrets are left out. A comment at the beginning says where each has to come from.
    """
    document, secrets = site_document(site)
    lines = ["# The effective configuration; `mistwatch config export` wrote it."]
    if secrets:
        lines.append("# Secrets are not in it:")
        lines += [f"#   {name}: {whence}" for name, whence in secrets.items()]
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return "\n".join(lines) + "\n" + text


def site_document(site: Site) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the site's settings as JSON has them, and for each secret that is left out where it has to come from."""
    plain: dict[str, Any] = site.model_dump(mode="json", exclude_defaults=True)
    plain["site"] = site.site
    if site.detectors:  # each of them names its model
        plain.get("triton", {}).pop("model", None)
    secrets: dict[str, str] = {}
    kafka = site.kafka.model_dump(mode="json", exclude_defaults=True)
    kafka["security"] = _security(site.kafka.security, secrets)
    plain["kafka"] = {key: value for key, value in kafka.items() if value != {}}
    plain["cameras"] = {name: _camera(name, settings, secrets) for name, settings in site.cameras.items()}
    if isinstance(site, GroupSite):
        del plain["cameras"]
    plain["state_dir"] = str(site.state_dir)
    _make_absolute(plain)
    for name in ("triton", "kafka"):  # other sections may be there without a setting: `places: {}` switches them on
        if not plain.get(name, True):
            del plain[name]
    return plain, secrets


def _security(security: KafkaSecurity, secrets: dict[str, str]) -> dict[str, Any]:
    plain = security.model_dump(mode="json", exclude_defaults=True)
    for name in ("password", "tls_key_password"):
        if plain.pop(name, None) is not None:
            secrets[f"kafka.security.{name}"] = (
                f"the environment's MISTWATCH_KAFKA__SECURITY__{name.upper()}, or add kafka.security.{name}_file"
            )
    return plain


def _camera(name: str, settings: CameraSettings, secrets: dict[str, str]) -> dict[str, Any]:
    plain: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True)
    variable = f"MISTWATCH_CAMERAS__{name.replace('.', '_').replace('-', '_').upper()}__PASSWORD"
    whence = f"the environment's {variable}, or add password_file"
    if plain.pop("password", None) is not None:
        secrets[f"cameras.{name}.password"] = whence
    if redact_location(settings.source) != settings.source:
        plain["source"] = redact_location(settings.source)
        found = split(settings.source) if "://" in settings.source else None
        if found is not None and found.user_is_in_url and found.redacted == found.bare and not found.is_ambiguous:
            plain["source"] = found.bare
            plain.setdefault("username", found.user)
            secrets[f"cameras.{name}.password"] = whence
        else:
            secrets[f"cameras.{name}.source"] = f"it holds credentials; put them in again instead of {_HIDDEN}"
    return plain


_HIDDEN = "***"


def _make_absolute(document: dict[str, Any]) -> None:
    """Make the paths absolute in which a site's file may be relative to itself."""
    for owner, key in list(_paths(document)):
        if isinstance(value := owner.get(key), str):
            owner[key] = str(Path(value).absolute())


def _paths(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield document, "state_dir"
    yield document, "calibration"
    evidence = document.get("evidence", {})
    yield from ((evidence, key) for key in ("store_access_key_file", "store_secret_key_file", "store_ca_file"))
    tls = document.get("triton", {}).get("tls") or {}
    yield from ((tls, key) for key in ("ca", "certificate", "key"))
    security = document.get("kafka", {}).get("security", {})
    yield from (
        (security, key) for key in ("password_file", "tls_ca", "tls_certificate", "tls_key", "tls_key_password_file")
    )
    for sink in document.get("sinks", {}).values():
        yield from ((sink, key) for key in ("secret_file", "password_file", "tls_ca"))
    for detector in document.get("detectors", {}).values():
        yield detector, "calibration"
    for camera in document.get("cameras", {}).values():
        yield camera, "calibration"
        yield camera, "password_file"
        yield camera.get("tls", {}), "ca"
        if "://" not in camera["source"]:
            yield camera, "source"


class _Dumper(yaml.SafeDumper):
    """Writes innermost lists in one line: the corners of zones."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        flat = all(not isinstance(each, Mapping) for each in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat or flow_style)

    def ignore_aliases(self, data: Any) -> bool:
        return True
