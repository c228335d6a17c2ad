"""The root of every error that mistwatch raises on purpose.

The text of an error is what the operator reads: one line (or one line per problem) that names the camera, file or key,
says what happened and what was expected. The command line prints it and exits with ``exit_status``; a traceback means a
bug. ``operators`` and ``deploy`` import nothing of the other rooms: the former raise ValueError, the latter
:class:`deploy.errors.DeployError`, which has the same form.
"""

from __future__ import annotations


class MistwatchError(Exception):
    """A failure at run time: exit status 1.

    Attributes:
        exit_status: the status of a command that ends with this error.
    """

    exit_status = 1


class UsageError(MistwatchError):
    """A mistake in usage or configuration, or a missing file: exit status 2."""

    exit_status = 2
