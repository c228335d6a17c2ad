"""Rights: the least role for a method and a path. Unsafe requests that no rule names are refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pipeline.access_settings import Role

#: Methods that change nothing (RFC 9110, 9.2.1). TRACE and OPTIONS are not served.
SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Rule:
    """The least role for some requests.

    Attributes:
        methods: separated by ``|``, as ``PUT|DELETE``.
        path: segments of a path; ``{name}`` stands for one segment, ``**`` at the end for one or more.
    """

    methods: str
    path: str
    role: Role

    def matches(self, method: str, path: str) -> bool:
        """Return whether the rule is about a request.

        >>> Rule("PUT", "/api/cameras/{camera}/zones", Role.OPERATOR).matches("PUT", "/api/cameras/gate/zones")
        True
        """
        return method in self.methods.split("|") and self._pattern.fullmatch(path) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = [
            "[^/]+" if part.startswith("{") else ".+" if part == "**" else re.escape(part)
            for part in self.path.split("/")
        ]
        return re.compile("/".join(parts), re.DOTALL)


#: The first rule that matches decides. GET and HEAD without a rule need a viewer.
RULES = (
    Rule("GET|HEAD|POST", "/api/users", Role.ADMIN),
    Rule("GET|HEAD", "/users", Role.ADMIN),
    Rule("GET|HEAD|PUT|PATCH|POST|DELETE", "/api/users/**", Role.ADMIN),
    Rule("POST", "/api/cameras", Role.ADMIN),
    Rule("PUT|PATCH|DELETE", "/api/cameras/{camera}", Role.ADMIN),
    Rule("PUT|PATCH|POST|DELETE", "/api/cameras/{camera}/thresholds", Role.OPERATOR),
    Rule("PUT|PATCH|POST|DELETE", "/api/cameras/{camera}/thresholds/{detector}", Role.OPERATOR),
    Rule("PUT|PATCH|POST|DELETE", "/api/cameras/{camera}/zones", Role.OPERATOR),
    Rule("PUT|PATCH|POST|DELETE", "/api/cameras/{camera}/zones/{zone}", Role.OPERATOR),
    Rule("PUT|PATCH|POST|DELETE", "/api/cameras/{camera}/schedule", Role.OPERATOR),
    Rule("POST", "/api/judgements", Role.OPERATOR),
    Rule("PUT|POST|DELETE", "/api/alerts/{alert}/judgement", Role.OPERATOR),
    Rule("POST", "/api/links", Role.OPERATOR),
)


def least_role(method: str, path: str, rules: Iterable[Rule] = RULES) -> Role | None:
    """Return the least role for a request; None: refused for every role.

    >>> least_role("GET", "/alerts"), least_role("POST", "/alerts")
    (<Role.VIEWER: 'viewer'>, None)
    """
    for rule in rules:
        if rule.matches(method, path):
            return rule.role
    return Role.VIEWER if method in SAFE else None
