"""User names and passwords: taken apart from a location when it is read, put together only for FFmpeg, shown never."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

#: Everything between a scheme and the last @ before a space or a quote: an unescaped password may itself hold @, : or
#: /, so a path with an @ loses its host here. Hiding too much is the safe mistake. Kept is what can hold no password: a
#: numeric host, and behind it a path without a colon.
_NUMERIC_HOST = r"(?:\[[0-9a-fA-F:.]+\]|\d+(?:\.\d+){3}|localhost)(?::\d+)?"
_USERINFO = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)"
    rf"(?!{_NUMERIC_HOST}/[^\s'\"<>:]*:?(?:[\s'\"<>]|$))"
    r"[^\s'\"<>]*@"
)
#: A URL that passed for a path has one slash: ``rtsp:/admin:12345@camera/x``.
_ONE_SLASH = re.compile(r"(?P<scheme>\b(?:rtsps?|https?|srt|rtmps?):/)(?=[^/])", re.IGNORECASE)
#: Some cameras want them in the path or the query: ``?user=admin&password=…``, ``/user=admin_password=…_channel=1``.
#: A colon behind the URL is the message's.
_PARAMETER = re.compile(
    r"(?P<name>(?:"
    r"[\w-]*(?:user|usr|login|pass|pas|pwd|psw|secret|token|auth|session|signature|credential|ticket)[\w-]*"
    r"|[\w-]*(?:key|sid|tok)"
    r"|\b(?:code|pin|pw|sig|jwt|u|p)"
    r")=)[^\s'\"<>&]*?(?=:?(?:[\s'\"<>&]|$))",
    re.IGNORECASE,
)
#: ... or in a folder of the path: ``/0/admin:12345/main``. A file's name may hold a time.
_FOLDER = re.compile(
    r"(?P<before>(?<!file)://[^\s'\"<>/?#]*(?:/[^\s'\"<>/?#:]*)*/)[^\s'\"<>/?#:]+:[^\s'\"<>/?#]+?(?=:?(?:[\s'\"<>/?#]|$))"
)
#: A URL without its scheme, or with a misspelt one: ``admin:12345@camera/x``, ``rtsp:/admin:12345@camera/x``.
_MISSPELT_USERINFO = re.compile(
    r"\A(?P<scheme>(?>(?:(?:rtsp|http)s?:?)?/{0,2}))[^/:@\s]+:.*@", re.DOTALL | re.IGNORECASE
)
#: Outside of URLs: ``password='…'``, ``"token": "…"``, ``sasl.password=…``, ``Authorization: Basic …``.
_NAMES_OF_SECRETS = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|private[_-]?key|credentials?|authorization)"
)
_NAME = re.compile(rf"(?:\A|[^a-z]){_NAMES_OF_SECRETS}\Z", re.IGNORECASE)
_QUOTED_PAIR = re.compile(
    rf"(?P<name>\b[\w.-]*{_NAMES_OF_SECRETS}['\"]?\s*[=:]\s*)(?P<quote>['\"])(?:\\.|(?!(?P=quote))[^\\])*(?P=quote)",
    re.IGNORECASE | re.DOTALL,
)
_BARE_PAIR = re.compile(rf"(?P<name>\b[\w.-]*{_NAMES_OF_SECRETS}=)(?!['\"]|\*\*\*)[^\s,;&<>'\"()]+", re.IGNORECASE)
_HEADER = re.compile(
    r"(?P<name>\b(?:proxy-)?authorization['\"]?\s*:\s*['\"]?(?:basic|bearer|digest)\s+)[^\r\n'\"]+", re.IGNORECASE
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
#: No port is like this: ``rtsp://admin:s3cret/x``, a URL without its host.
_NO_PORT = re.compile(r"(?P<before>://[^/?#:@\[\]]*:)(?!\d{0,5}(?:[/?#]|$))[^/?#]*")
_AUTHORITY = re.compile(r".*?://(?P<authority>[^/?#]*)(?P<path>.*)", re.DOTALL)
HIDDEN = "***"


def redact(text: str) -> str:
    """The text with the credentials of every URL, and the values of named secrets, hidden; else as it is.

    >>> redact("cannot open rtsp://admin:s3cret@10.0.0.7/stream1")
    'cannot open rtsp://***@10.0.0.7/stream1'
    """
    if (with_both := _ONE_SLASH.sub(r"\g<scheme>/", text)) != text:
        hidden = _redacted(with_both)
        return text if hidden == with_both else hidden
    return _redacted(text)


def _redacted(text: str) -> str:
    if "://" in text:
        text = _without_those_behind_the_host(_USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text))
    if "=" not in text and ":" not in text:
        return text
    text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    text = _QUOTED_PAIR.sub(rf"\g<name>\g<quote>{HIDDEN}\g<quote>", text)
    return _BARE_PAIR.sub(rf"\g<name>{HIDDEN}", text)


def names_secret(name: str) -> bool:
    """Return whether a setting or key of this name holds a secret: ``password``, ``sasl_plain_password``, …"""
    return _NAME.search(name) is not None


def redact_location(location: str) -> str:
    """A URL or a file's name with the credentials hidden; here an unescaped password may hold blanks and quotes too.

    >>> redact_location("rtsp://admin:'s3 cret'@10.0.0.7/stream1")
    'rtsp://***@10.0.0.7/stream1'
    """
    if _URL.match(location) is None:
        return redact(_MISSPELT_USERINFO.sub(rf"\g<scheme>{HIDDEN}@", location, count=1))
    found = split(location)
    if found.is_ambiguous or not found.user_is_in_url:
        return found.redacted
    return found.redacted.replace("://", f"://{HIDDEN}@", 1)


def shown(location: str) -> str:
    """A URL or a file's name as it stands in a message: credentials hidden, control characters escaped, one line."""
    return _printable(redact_location(location))


def _without_those_behind_the_host(text: str) -> str:
    return _FOLDER.sub(rf"\g<before>{HIDDEN}", _PARAMETER.sub(rf"\g<name>{HIDDEN}", text))


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


@dataclass(frozen=True)
class Location:
    """A URL without its credentials, and the credentials. Its repr and str hold none.

    Attributes:
        bare: the URL without user and password.
        user, password: decoded, None when not given.
        user_is_in_url: the URL had an @ before its host.
    """

    bare: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    user_is_in_url: bool = field(default=False, repr=False)

    @property
    def is_ambiguous(self) -> bool:
        """Return whether the URL looks as if its user name or password held an unescaped /, ? or #.

        What precedes that sign then passes for the host: ``rtsp://admin:12345/6@camera`` asks the host ``admin``, and
        ``rtsp://admin:p@ss/word@camera`` the host ``ss``. An @ in the path of a plain host is taken as one of the path.
        """
        match = _AUTHORITY.match(self.bare)
        if match is None or "@" not in match["path"]:
            return False
        host = match["authority"]
        if re.fullmatch(_NUMERIC_HOST, host):
            return False
        return self.user_is_in_url or ":" in host or "." not in host

    @property
    def redacted(self) -> str:
        """The URL with the credentials that it still holds hidden; nothing but its scheme where it is ambiguous."""
        if self.is_ambiguous:
            return f"{self.bare.partition('://')[0]}://{HIDDEN}"
        return _without_those_behind_the_host(_NO_PORT.sub(rf"\g<before>{HIDDEN}", self.bare, count=1))

    def __str__(self) -> str:
        return _printable(self.redacted)

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    @property
    def userinfo_length(self) -> int:
        """Length of the percent-encoded ``user:password``, bytes."""
        return len(self._userinfo)

    @property
    def _userinfo(self) -> str:
        return "" if self.user is None else f"{_quoted(self.user)}:{_quoted(self.password or '')}"

    def for_ffmpeg(self) -> str:
        """The URL with its credentials, percent-encoded as FFmpeg decodes them. For FFmpeg alone: never to be shown."""
        if self.user is None:
            return self.bare
        scheme, rest = self.bare.split("://", 1)
        return f"{scheme}://{self._userinfo}@{rest}"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")  # the bytes of a command line need not be UTF-8


def split(location: str, user: str | None = None, password: str | None = None) -> Location:
    """Take the credentials out of a URL; those given apart go before those in the URL.

    A password in the URL may hold an @ or a colon as it is (people paste them so); one with a slash, a question mark or
    a # must be percent-encoded, or be given apart.
    """
    scheme = location.partition("://")[0].lower()  # FFmpeg knows it so alone
    match = _AUTHORITY.match(location)
    assert match is not None, "a location without a scheme"
    authority, path = match["authority"], match["path"]
    userinfo, at, host = authority.rpartition("@")
    if at:
        url_user, colon, url_password = userinfo.partition(":")
        user = user if user is not None else unquote(url_user)
        password = password if password is not None else (unquote(url_password) if colon else None)
    return Location(f"{scheme}://{host}{path}", user, password, user_is_in_url=bool(at))
