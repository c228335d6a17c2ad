"""Base of all cameras behind a URL: location, credentials, and the true cause of a refusal."""

from __future__ import annotations

import errno
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack, cast
from urllib.parse import urljoin, urlsplit

import av

from pipeline.secret_file import SecretFileError, read_secret
from pipeline.sources.base import Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.certificates import CameraTls, certificate_problem, is_encrypted
from pipeline.sources.challenge import Challenge, parse_challenges, taken_by_ffmpeg
from pipeline.sources.connection import LiveOptions, LiveStream, Received
from pipeline.sources.credentials import Location, shown, split
from pipeline.sources.probe import Answer, ask, listens, method_for, request_uri
from pipeline.sources.tunnel import Tunnel
from pipeline.tls import TlsFileError

#: Statuses of a server that has no room for one more client: RTSP's "not enough bandwidth", HTTP's "too many requests"
#: and both protocols' "service unavailable".
_BUSY = frozenset({429, 453, 503})

#: FFmpeg's errors after which the camera is asked. They stand for several causes each.
_UNCLEAR = (
    av.error.HTTPNotFoundError,
    av.error.HTTPOtherClientError,
    av.error.HTTPTooManyRequestsError,
    av.error.HTTPBadRequestError,
    av.error.HTTPServerError,
    av.error.InvalidDataError,
    av.error.EOFError,
    av.error.ConnectionRefusedError,  # possibly by the target of a redirection
    av.error.ArgumentError,  # a redirection that cannot be followed
)


#: The longest part of a camera's answer that a message repeats, characters.
_LONGEST_QUOTE = 200


def said(text: str) -> str:
    """A part of a camera's answer as it stands in a message: as :func:`shown`, and cut off where it is very long."""
    text = shown(text)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"


class NetworkOptions(LiveOptions, total=False):
    """The options of every camera behind a URL, see :class:`NetworkStream`."""

    user: str | None
    password: str | None
    password_file: Path | None
    tls: CameraTls | None


class NetworkStream(LiveStream):
    """A camera behind a URL that FFmpeg opens.

    FFmpeg reports several answers of a camera as one error. So after a refusal the camera is asked once more, by
    :func:`pipeline.sources.probe.ask`, to name the cause. The credentials are sent along only where FFmpeg has just
    sent them, and after a refusal of them only once until the camera can be opened again: cameras lock an account after
    a few attempts. All questions after one refusal together have one more open limit.

    The certificate of a camera with TLS is verified before anything is sent (code ``certificate``), by FFmpeg or by
    a tunnel of our own; see :mod:`pipeline.sources.certificates`.

    Args:
        location: ``SCHEME://[USER:PASSWORD@]HOST[:PORT]/PATH``.
        user, password: go before those in the location.
        password_file: file with the password on its first line, read at each connection; instead of ``password``.
        tls: how the camera's certificate is verified; default: by the system's authorities.
        options: limits and callbacks, see :class:`pipeline.sources.connection.LiveStream`.

    Raises:
        SourceError: ``usage``: a location or credentials that no retry can mend.
    """

    #: The schemes of its locations; the first is shown as the one expected.
    schemes: tuple[str, ...]
    #: FFmpeg cuts a longer ``user:password``, percent-encoded, off in silence. Bytes.
    max_userinfo_bytes: int

    def __init__(
        self,
        camera: str,
        location: str,
        **options: Unpack[NetworkOptions],
    ) -> None:
        self.location = split(location, options.pop("user", None), options.pop("password", None))
        self._password_file = options.pop("password_file", None)
        self._tls = options.pop("tls", None) or CameraTls()
        self._tunnel: Tunnel | None = None  # once one was needed, until the source ends
        self._refusal: Answer | None = None  # the answer to the credentials, until the camera can be opened again
        self._ask_until = 0.0  # the questions after the latest refusal, on the monotonic clock
        super().__init__(camera, str(self.location), **cast(LiveOptions, options))
        if (problem := self._problem()) is not None:
            raise self._error(problem, "usage")

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`; it ends by ``stop`` alone."""
        try:
            yield from super().frames(specs, stop)
        finally:
            self._close_tunnel()

    def packets(self, stop: threading.Event) -> Iterator[Received]:
        """See :meth:`pipeline.sources.connection.LiveStream.packets`."""
        try:
            yield from super().packets(stop)
        finally:
            self._close_tunnel()

    def _renew_password(self) -> None:
        """Read the password again, so that a changed one is used. Raises SourceError: the file cannot be used."""
        if self._password_file is None:
            return
        problem = None
        try:
            password = read_secret("password file", self._password_file)
        except SecretFileError as error:
            problem = str(error)
        if problem is not None:
            raise self._error(problem, "unauthorized")
        if password != self.location.password:
            self._refusal = None
            self.location = replace(self.location, password=password)
            if (problem := self._problem()) is not None:
                raise self._error(problem, "unauthorized")

    def _url_through_tunnel(self) -> str:
        """Return the URL for FFmpeg by which the camera is reached through the tunnel, without TLS."""
        problem = None
        if self._tunnel is None:
            try:
                self._tunnel = Tunnel(self.location, self._tls, timeout_seconds=self._open_timeout)
            except (OSError, RuntimeError) as error:  # descriptors, ports or threads have run out
                problem = getattr(error, "strerror", None) or str(error)
        if self._tunnel is None:
            raise self._error(f"the tunnel that verifies its certificate cannot be opened: {problem}", "unreachable")
        parts = urlsplit(self.location.bare)
        plain = parts._replace(scheme=parts.scheme.lower().removesuffix("s"), netloc=self._tunnel.authority)
        return replace(self.location, bare=plain.geturl()).for_ffmpeg()

    def _close_tunnel(self) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.close()

    @property
    def _verifies_by_tunnel(self) -> bool:
        """A pinned certificate is to be verified, which FFmpeg cannot."""
        return is_encrypted(self.location) and bool(self._tls.pinned)

    def _opened(self) -> None:
        self._refusal = None

    def _failure_to_open(self, error: av.FFmpegError) -> SourceError | None:
        self._ask_until = time.monotonic() + self._open_timeout
        if (problem := self._certificate_problem()) is not None:
            return self._error(problem, "certificate")
        if isinstance(error, av.error.HTTPForbiddenError):
            return self._error("refused (403 Forbidden); are this user and address allowed?", "unauthorized")
        if isinstance(error, av.error.HTTPUnauthorizedError):
            return self._error(self._why_unauthorized(), "unauthorized")
        if not isinstance(error, _UNCLEAR) and error.errno != errno.EIO:
            return None
        reason = self._why_refused(error, self._ask_as_ffmpeg())
        return self._error(reason[1], reason[0]) if reason is not None else None

    def _certificate_problem(self) -> str | None:
        """Return why the camera is not trusted, None where it is."""
        if not is_encrypted(self.location):
            return None
        try:
            return certificate_problem(self.location, self._tls, until=self._ask_until)
        except TlsFileError as error:
            return str(error)

    def _why_unauthorized(self) -> str:
        if self.location.user is None:
            return "asks for a user name and a password; none are given"
        answer, challenge = self._ask(), None
        if answer is not None and answer.status == 401:
            challenges = parse_challenges(answer.all("www-authenticate"))
            challenge = taken_by_ffmpeg(challenges)
            if challenges and challenge is None:
                unknown = [one for one in challenges if taken_by_ffmpeg([one]) is None]
                others = [one for one in challenges if one not in unknown]
                beside = f" (besides {_listed(others)})" if others else ""
                return (
                    f"asks for {_listed(unknown)}{beside}, which this FFmpeg cannot answer; no password was sent; "
                    "allow Digest MD5 alone in the camera"
                )
            if self._refusal is None:
                self._refusal = self._ask(self._authorization(answer))
            answer = self._refusal
        if (target := self._redirection(answer)) is not None:
            assert answer is not None
            if self._password_follows(answer.first("location"), challenge):
                return f"redirects to {target}, which refuses the user name and password; write that as the source"
            return f"redirects to {target}, which asks for a password; none was sent there; write that as the source"
        if not self.location.password:
            return "user name refused; no password is given"
        return "user name or password refused"

    @abstractmethod
    def _password_follows(self, location: str, asked: Challenge | None) -> bool:
        """Return whether FFmpeg sends the password to the target of a redirection.

        Args:
            location: the target as the camera wrote it.
            asked: the challenge that the camera itself had FFmpeg answer.
        """

    def _why_refused(self, error: av.FFmpegError, answer: Answer | None) -> tuple[str, str] | None:
        """Return reason code and text of FFmpeg's error, given the camera's answer; None where it explains nothing."""
        scheme = self.location.bare.partition(":")[0]
        if answer is None:
            if listens(self.location, until=self._ask_until):
                problem = f"something listens there, but gives no answer in {scheme}; are scheme and port right?"
                return "protocol", problem
            return None
        if not scheme.startswith(answer.protocol.lower()):
            return "protocol", f"answers in {answer.protocol}, not in {scheme}; are scheme and port right?"
        if (target := self._redirection(answer)) is not None:
            if isinstance(error, av.error.ArgumentError):
                return "protocol", f"redirects to {target}, which cannot be followed; write the camera's own address"
            return "protocol", f"redirects to {target}, which refuses or is not there; write the camera's own address"
        status = said(f"{answer.status} {answer.reason}".strip())
        if answer.status in _BUSY:
            return "busy", f"busy, too many clients ({status}); close another viewer, or allow more in the camera"
        if answer.status >= 400 and answer.status != 404:
            return "protocol", f"refused with the status {status}"
        return None

    def _redirection(self, answer: Answer | None) -> str | None:
        """Return the address that the answer redirects to, as it may be shown; None where it does not redirect."""
        if answer is None or not 300 <= answer.status < 400 or not (target := answer.first("location")):
            return None
        with suppress(ValueError):
            target = urljoin(self.location.bare, target)
        return said(str(split(target)) if "://" in target else target)

    def _ask_as_ffmpeg(self) -> Answer | None:
        """Return the answer to a request with the credentials, sent as the camera asks for them."""
        answer = self._ask()
        if answer is None or answer.status != 401 or self.location.user is None:
            return answer
        return self._ask(self._authorization(answer)) or answer

    def _ask(self, authorization: str | None = None) -> Answer | None:
        return ask(self.location, until=self._ask_until, authorization=authorization, tls=self._tls)

    def _authorization(self, answer: Answer) -> str | None:
        challenge = taken_by_ffmpeg(parse_challenges(answer.all("www-authenticate")))
        if challenge is None or self.location.user is None:
            return None
        method, uri = method_for(self.location), request_uri(self.location)
        return challenge.authorization(method, uri, self.location.user, self.location.password or "")

    def _problem(self) -> str | None:
        """Return what is wrong with the location, the credentials or the settings of TLS, None where nothing is."""
        if self._password_file is not None and self.location.user is None:
            return "a password file without a user name"
        return self._tls.problem() or location_problem(self.location, self.schemes, self.max_userinfo_bytes)


def _listed(challenges: Sequence[Challenge]) -> str:
    return " and ".join(dict.fromkeys(map(str, challenges)))


def location_problem(location: Location, schemes: tuple[str, ...], max_userinfo_bytes: int) -> str | None:
    """Return what is wrong with a location or its credentials, None where nothing is."""
    if location.is_ambiguous:
        return (
            "an @ follows a / ? or #: percent-encode these in a user name or password (/ is %2F, ? is %3F, # is %23) "
            "or give both apart; an @ of the path is %40"
        )
    try:
        parts = urlsplit(location.bare)
        if parts.scheme.lower() not in schemes or not parts.hostname:
            return f"expected {schemes[0]}://HOST[:PORT]/PATH"
        if parts.port == 0:
            return "port must be 1 to 65535"
    except ValueError:
        return "the port is not a number from 1 to 65535"
    if not location.bare.isprintable():
        return "holds a control character"
    if location.user is None and location.password is not None:
        return "a password without a user name"
    if location.userinfo_length > max_userinfo_bytes:
        return f"user name and password are longer than {max_userinfo_bytes} bytes, percent-encoded"
    return None
