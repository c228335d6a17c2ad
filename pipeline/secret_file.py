"""Secrets in files, as container platforms hand them over: the first line, read when it is needed."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UsageError

#: No password is so long. Bytes.
_LONGEST_BYTES = 64 << 10


class SecretFileError(UsageError):
    """A file with a secret cannot be used. One line that names the file and never its content."""


def read_secret(what: str, path: Path) -> str:
    """Return the first line of a file, without its end of line.

    Args:
        what: at the beginning of an error: ``Kafka password file``.

    Raises:
        SecretFileError: the file cannot be read, is not UTF-8, or its first line is empty.
    """
    try:
        with path.open("rb") as file:
            first = file.read(_LONGEST_BYTES).partition(b"\n")[0].removesuffix(b"\r")
        secret = first.decode("utf-8-sig")
    except OSError as error:
        raise SecretFileError(f"{what} {path}: {error.strerror or type(error).__name__}") from None
    except ValueError:  # UnicodeDecodeError is one; a path with a NUL, too
        raise SecretFileError(f"{what} {path}: not UTF-8 text; expected the secret on its first line") from None
    if not secret:
        raise SecretFileError(f"{what} {path}: the first line is empty; expected the secret there")
    return secret
