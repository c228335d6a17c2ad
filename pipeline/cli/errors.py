"""How a command fails: one line on standard error and an exit status, never a traceback."""

from __future__ import annotations


class CommandFailure(Exception):
    """Ends a command with one clear line. Use one of the two subclasses."""

    status = 1


class UsageFailure(CommandFailure):
    """Usage, configuration or missing files: status 2. The line names the thing and what was expected."""

    status = 2


class RunFailure(CommandFailure):
    """Something went wrong while running: status 1. The line names what happened and what to do."""

    status = 1
