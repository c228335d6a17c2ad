"""Errors of an object store, in words of our own.

The library's errors repeat the store's answer, which may hold the access key.
"""

from __future__ import annotations

import re

from pipeline.errors import MistwatchError

_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_KIND, _STATUS = re.compile(r"HttpError \{\s*kind: (\w+)"), re.compile(r"\bstatus(?: code)?: ([45]\d\d)\b")
_REGION = "the bucket is in another region; set evidence.store_region"
_REPLACED = "the object was replaced meanwhile; load it again"
_GARBLED = "the answer is not that of an object store; check store_endpoint, also its http or https"
#: What the codes of S3 mean to an operator.
_CODES = {
    "NoSuchBucket": "the bucket does not exist; create it, or correct evidence.store",
    "InvalidAccessKeyId": "it does not know the access key; correct the credentials",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; correct the credentials",
    "AccessDenied": "the access key may not do this; allow it to list, get, put and delete below the prefix",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "RequestTimeTooSkewed": "the clocks differ too much; set this machine's clock",
    "PreconditionFailed": _REPLACED,
    "SlowDown": "it asks for fewer requests",
}
_STATUSES = {
    "401": "it refuses the credentials; correct them",
    "403": "it refuses the credentials; correct them, or allow them this bucket and prefix",
    "412": _REPLACED,
}
#: Kinds of failures below HTTP, by the library's names.
_KINDS = {
    "Connect": "no connection; check store_endpoint and the network",
    "Timeout": "no answer in time; look at the server and the network",
    "Request": "it closed the connection without an answer; look at its log",
    "Interrupted": "its answer broke off; look at its log and the network",
    "Decode": _GARBLED,
    "Unknown": _GARBLED,
}


class StoreError(MistwatchError):
    """The store cannot be used now. One line without credentials."""


class ObjectGoneError(StoreError):
    """The store does not have the object."""


def lacks_bucket(error: Exception) -> bool:
    """Return whether an error of the library says that the bucket is missing, not only the object."""
    return _code(error) == "NoSuchBucket"


def meaning_of(error: Exception) -> str:
    """Return what an error of the library says."""
    text = str(error)
    if code := _code(error):
        return _CODES.get(code, f"it refuses ({code})")
    if found := _STATUS.search(text):
        return _STATUSES.get(found[1], f"it answers with status {found[1]}; look at its log")
    if "BareRedirect" in text:
        return _REGION
    if "InvalidCertificate" in text or "certificate verify" in text:
        return "its certificate is not trusted; set evidence.store_ca_file, and the name in store_endpoint"
    if found := _KIND.search(text):
        return _KINDS.get(found[1], _KINDS["Connect"])
    return f"it cannot be used ({type(error).__name__}); look at its log"


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""
