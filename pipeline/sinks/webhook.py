"""A webhook as a sink: each event is one POST, signed as https://www.standardwebhooks.com/ describes it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.alerts.reading import Event
from pipeline.printable import printable
from pipeline.sinks.base import Delivery, KeepWaiting, SinkUnavailableError, Verdict
from pipeline.sinks.http_exchange import Address, Answer, Exchanger, ExchangeTimeout
from pipeline.sinks.kafka_security import reason_of
from pipeline.sinks.secrets import SinkSettingsError, read_secret_lines, verifying_context
from pipeline.sinks.webhook_settings import SECRET_VARIABLE, WebhookSettings

_PREFIX = "whsec_"
#: The standard's limits for a secret, bytes.
_SECRET_BYTES = range(24, 65)

#: Most seconds that an answer's Retry-After is followed: a server with a wrong clock must not stop alerts for days.
_MOST_RETRY_AFTER_SECONDS = 300.0

#: Statuses below 500 that concern the address, the secret or the moment rather than the event: they may change without
#: it, so the event waits. Any other status from 400 to 499 would come again for the same event.
_MAY_CHANGE = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 429})
#: A remedy for the operator.
_ADVICE = {
    401: "check the secret",
    403: "check the secret",
    404: "check url",
    405: "check url",
    410: "check url",
}


class WebhookSink:
    """Posts each event to one address.

    Redirects are not followed, and proxies of the environment are not used.

    Raises:
        SinkSettingsError: there is no usable secret, or ``tls_ca`` cannot be read.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        parts = urlsplit(settings.url)
        assert parts.hostname is not None, "settings are checked"
        encrypted = parts.scheme == "https"
        context = verifying_context("webhook", settings.tls_ca) if encrypted else None
        self._address = Address(parts.hostname, parts.port or (443 if encrypted else 80), context)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._keys = _signing_keys(settings.secret_file)
        self._exchanger = Exchanger(self._address, settings.timeout_seconds)
        self._failures: dict[str, int] = {}  # of the connection, by the id of each event that was given last

    @contextlib.contextmanager
    def connect(self) -> Iterator[None]:
        """See :class:`pipeline.sinks.base.Sink`. Raises SinkUnavailableError."""
        try:
            self._exchanger.connect()
        except (OSError, ExchangeTimeout, UnicodeError) as error:
            raise SinkUnavailableError(f"{self}: {_reason(error)}") from None
        try:
            yield
        finally:
            self._exchanger.close()

    def send(self, events: Sequence[Event], keep_waiting: KeepWaiting) -> list[Delivery]:
        """See :class:`pipeline.sinks.base.Sink`. After a failed connection the rest is not tried.

        An event at which the connection has failed comes after the others next time: a receiver that hangs at one
        document still gets those of the other cameras.
        """
        self._failures = {event.id: self._failures.get(event.id, 0) for event in events}
        answers: dict[str, Delivery] = {}
        failure: str | None = None
        for event in sorted(events, key=lambda one: self._failures[one.id]):
            if failure is not None:
                answers[event.id] = Delivery(Verdict.RETRY, failure)
                continue
            try:
                answers[event.id] = _meaning(self._post(event, keep_waiting))
            except (OSError, http.client.HTTPException, ExchangeTimeout) as error:
                failure = _reason(error)
                self._failures[event.id] += 1
                answers[event.id] = Delivery(Verdict.RETRY, failure)
        return [answers[event.id] for event in events]

    def _post(self, event: Event, keep_waiting: KeepWaiting) -> Answer:
        body, now = event.to_json(), str(int(time.time()))
        headers = {
            "Content-Type": "application/cloudevents+json; charset=UTF-8",
            "User-Agent": "mistwatch",
            "webhook-id": event.id,
            "webhook-timestamp": now,
            "webhook-signature": " ".join(signature(key, event.id, now, body) for key in self._keys),
        }
        return self._exchanger.post(self._path, body, headers, lambda: keep_waiting(self._explain_silence))

    def _explain_silence(self) -> str:
        return f"{self}: does not answer"

    def __str__(self) -> str:
        # Not the path: it is a secret of many services.
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        return f"webhook {host}:{self._address.port}"


def signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """Return one signature of a message: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``."""
    signed = hmac.new(key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def _signing_keys(file: Path | None) -> list[bytes]:
    """Return the keys, one for each line of the secret: while a secret is exchanged, both the old and the new sign."""
    lines = read_secret_lines("webhook secret", file, SECRET_VARIABLE)
    if not lines:
        raise SinkSettingsError(
            f"webhook: no secret; set webhook.secret_file, or {SECRET_VARIABLE} in the environment, to "
            f"{_PREFIX} and the base64 of 24 to 64 random bytes"
        )
    keys = []
    for line in lines:
        try:
            key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not line.startswith(_PREFIX) or len(key) not in _SECRET_BYTES:
            where = f"file {file}" if file is not None else SECRET_VARIABLE
            raise SinkSettingsError(
                f"webhook secret {where}: not usable; expected {_PREFIX} and the base64 of 24 to 64 random bytes"
            )
        keys.append(key)
    return keys


def _meaning(answer: Answer) -> Delivery:
    """Return the verdict of an answer."""
    status = answer.status
    if 200 <= status < 300:
        return Delivery(Verdict.ACKNOWLEDGED)
    reason = f"answers {_named(status)}"
    if 300 <= status < 400:
        return Delivery(Verdict.RETRY, f"{reason}{_target(answer)}; redirects are not followed, correct url")
    if advice := _ADVICE.get(status):
        reason += f"; {advice}"
    if status < 500 and status not in _MAY_CHANGE:
        return Delivery(Verdict.NEVER, reason)
    return Delivery(Verdict.RETRY, reason, wait_seconds=_retry_after(answer))


def _named(status: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


def _target(answer: Answer) -> str:
    """Return the host that a redirect names, without its path."""
    try:
        host = urlsplit(answer.headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f" to {printable(host)}" if host else ""


def _retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait, at most :data:`_MOST_RETRY_AFTER_SECONDS`; else 0."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:6])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _MOST_RETRY_AFTER_SECONDS)


def _reason(error: Exception) -> str:
    """Return why an exchange has failed, in one line."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return "answers something other than HTTP"
    verify = getattr(error, "verify_message", "")  # of ssl.SSLCertVerificationError
    if verify:
        return f"its certificate is refused: {printable(verify)}; set tls_ca where the authority is your own"
    return reason_of(error)
