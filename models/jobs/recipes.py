"""Recipes: YAML files under ``configs/train``, read into the configuration class of a detector family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.jobs.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)


def read_recipe(kind: type[Config], file: Path | None, changes: Sequence[str] = ()) -> Config:
    """Read a recipe.

    Args:
        file: YAML; None for a recipe of the defaults alone.
        changes: ``key=value`` each, the key with dots between its levels, the value as in YAML.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or has unusable keys or values; a line for each problem.
    """
    values = {} if file is None else _read(file)
    for change in changes:
        _set(values, change)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{file or 'recipe'}: {'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: the file: expected a recipe, that is, keys and values")
    return values


def _set(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not (key and equals):
        raise ConfigError(f"--set {change}: expected key=value, with a key of the recipe")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {change}: {text!r} is not a YAML value") from None
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change}: {parent} has no keys below it")
    values[last] = value
