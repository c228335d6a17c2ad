"""Errors of training jobs: each is mended by another recipe, other videos or another command line."""

from __future__ import annotations

from pipeline.errors import UsageError


class ConfigError(UsageError):
    """A recipe cannot be used. A line for each problem, naming file and key."""


class TrainingError(UsageError):
    """A training cannot be run on these videos, or with this recipe. One line."""


class StageError(UsageError):
    """A stage cannot be run or read. One line that names it and what to do."""
