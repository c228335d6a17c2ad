"""The root of the errors of this package, which imports nothing of the others.

It has the same form as :class:`pipeline.errors.MistwatchError`: one line for an operator, and the exit status.
"""

from __future__ import annotations


class DeployError(Exception):
    """A server of our own cannot be started or has ended.

    Attributes:
        exit_status: the status of a command that ends with this error: 1 for a failure at run time, 2 for usage and
            missing files.
    """

    exit_status = 1
