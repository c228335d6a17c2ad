"""What cameras behind a URL share: the location and its credentials, and the true cause when one refuses."""

from __future__ import annotations

from contextlib import suppress
from typing import Unpack
from urllib.parse import urljoin, urlsplit

import av

from pipeline.sources.base import SourceError
from pipeline.sources.challenge import parse_challenges, taken_by_ffmpeg
from pipeline.sources.connection import LiveOptions, LiveStream
from pipeline.sources.credentials import Location, shown, split
from pipeline.sources.probe import Answer, ask, method_for, request_uri

#: Statuses of a server that has no room for one more client: RTSP's "not enough bandwidth", HTTP's "too many requests"
#: and both protocols' "service unavailable".
_BUSY = frozenset({429, 453, 503})

#: FFmpeg's errors that stand for an answer of the camera, and not for silence or a broken connection.
_ANSWERED = (
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPOtherClientError,
    av.error.HTTPTooManyRequestsError,
    av.error.HTTPBadRequestError,
    av.error.HTTPServerError,
    av.error.ArgumentError,  # a redirect that cannot be followed
)


class NetworkStream(LiveStream):
    """A camera behind a URL that FFmpeg opens.

    FFmpeg reports several answers of a camera as one error. So after a refusal the camera is asked once more, by
    :func:`pipeline.sources.probe.ask`, to name the cause. The credentials are sent along only where FFmpeg has just
    sent them, and after a refusal of them only once until the camera can be opened again: cameras lock an account after
    a few attempts.

    Args:
        location: ``SCHEME://[USER:PASSWORD@]HOST[:PORT]/PATH``.
        user, password: go before those in the location.
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
        *,
        user: str | None = None,
        password: str | None = None,
        **options: Unpack[LiveOptions],
    ) -> None:
        self.location = split(location, user, password)
        self._refusal: Answer | None = None  # the answer to the credentials, until the camera can be opened again
        super().__init__(camera, str(self.location), **options)
        if (problem := self._problem()) is not None:
            raise self._error(problem, "usage")

    def _opened(self) -> None:
        self._refusal = None

    def _failure_to_open(self, error: av.FFmpegError) -> SourceError | None:
        if not isinstance(error, _ANSWERED):
            return None
        if isinstance(error, av.error.HTTPForbiddenError):
            return self._error("refused (403 Forbidden); is it allowed to this user and address?", "unauthorized")
        refused = isinstance(error, av.error.HTTPUnauthorizedError)
        reason = self._why_unauthorized() if refused else self._why_refused(self._ask_as_ffmpeg())
        return self._error(reason[1], reason[0]) if reason is not None else None

    def _why_unauthorized(self) -> tuple[str, str]:
        """Return reason code and text of a 401."""
        if self.location.user is None:
            return "unauthorized", "asks for a user name and a password; none are given"
        answer = self._ask()
        if answer is not None and answer.status == 401:
            challenges = parse_challenges(answer.all("www-authenticate"))
            if challenges and taken_by_ffmpeg(challenges) is None:
                asked = " and ".join(dict.fromkeys(map(str, challenges)))
                return (
                    "unauthorized",
                    f"asks for {asked}, which this FFmpeg cannot answer; no password was sent; "
                    "allow Digest MD5 alone in the camera",
                )
            if self._refusal is None:
                self._refusal = self._ask(self._authorization(answer))
            answer = self._refusal
        if (target := self._redirection(answer)) is not None:
            return (
                "unauthorized",
                f"redirects to {target}, and that refuses: the user name and password are for the first address alone; "
                "write the second as the source",
            )
        if not self.location.password:
            return "unauthorized", "user name refused; no password is given"
        return "unauthorized", "user name or password refused"

    def _why_refused(self, answer: Answer | None) -> tuple[str, str] | None:
        """Return reason code and text of another answer, None where it explains nothing."""
        if (target := self._redirection(answer)) is not None:
            return "protocol", f"redirects to {target}, which cannot be followed; write the camera's own address"
        if answer is None or answer.status < 400:
            return None
        status = shown(f"{answer.status} {answer.reason}".strip())
        if answer.status in _BUSY:
            return "busy", f"busy, too many clients ({status}); close another viewer, or allow more in the camera"
        return "protocol", f"refused with the status {status}"

    def _redirection(self, answer: Answer | None) -> str | None:
        """Return the address that the answer redirects to, as it may be shown; None where it does not redirect."""
        if answer is None or not 300 <= answer.status < 400 or not (target := answer.first("location")):
            return None
        with suppress(ValueError):
            target = urljoin(self.location.bare, target)
        return str(split(target)) if "://" in target else shown(target)

    def _ask_as_ffmpeg(self) -> Answer | None:
        """Return the answer to a request with the credentials, sent as the camera asks for them."""
        answer = self._ask()
        if answer is None or answer.status != 401 or self.location.user is None:
            return answer
        return self._ask(self._authorization(answer)) or answer

    def _ask(self, authorization: str | None = None) -> Answer | None:
        return ask(self.location, within_seconds=self._open_timeout, authorization=authorization)

    def _authorization(self, answer: Answer) -> str | None:
        challenge = taken_by_ffmpeg(parse_challenges(answer.all("www-authenticate")))
        if challenge is None or self.location.user is None:
            return None
        method, uri = method_for(self.location), request_uri(self.location)
        return challenge.authorization(method, uri, self.location.user, self.location.password or "")

    def _problem(self) -> str | None:
        """Return what is wrong with the location or the credentials, None where nothing is."""
        return location_problem(self.location, self.schemes, self.max_userinfo_bytes)


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
