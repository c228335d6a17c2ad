"""Limits of login attempts: a delay that doubles with each failure, for a user's name and for an address. Pure.

An attempt counts as failed from its beginning, so parallel attempts cannot pass together; a success takes it back.
Refused attempts do not count, so no attacker can extend a delay by knocking: a right password from an address without
failures is accepted ``NAME_SECONDS`` after the last counted failure, at the latest. An address from which a user has
logged in before is limited for that user alone, whatever others do to the name or behind the same address.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

#: Failures without a delay, then seconds of the first delay.
FREE, FIRST_SECONDS = 3, 1.0
#: Longest delays, seconds. 30 s leave an attacker with any number of addresses 2,880 guesses a day at one name.
NAME_SECONDS, ADDRESS_SECONDS = 30.0, 300.0
#: Failures are forgotten after so long without another one. Seconds.
FORGET_SECONDS = 3600.0


@dataclass
class _Failures:
    count: int
    last: float


@dataclass(frozen=True)
class Attempt:
    """A login that may be judged now, or must wait.

    Attributes:
        wait_seconds: 0: it may be judged.
    """

    pair: str
    keys: tuple[tuple[str, str], ...]
    wait_seconds: float


class LoginLimits:
    """Failed logins of the last hour.

    Args:
        most: names and addresses remembered of each kind; beyond them the one that failed longest ago is forgotten.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._failures: dict[str, OrderedDict[str, _Failures]] = {
            kind: OrderedDict() for kind in ("name", "address", "pair")
        }
        self._known: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._failures.values())) + len(self._known)

    def begin(self, name: str, address: str, now: float) -> Attempt:
        """Count an attempt as failed, unless it must wait: then ``wait_seconds`` is above 0 and nothing is counted.

        Args:
            name: as the browser sent it, of any length.
            address: the client's IP address.
            now: seconds of a monotonic clock.
        """
        pair = f"{_network(address)} {name[:64]}"
        keys = (("pair", pair),) if pair in self._known else (("name", name[:64]), ("address", _network(address)))
        wait = max(self._wait(kind, key, now) for kind, key in keys)
        if wait <= 0:
            for kind, key in keys:
                self._count(kind, key, now)
        return Attempt(pair, keys, max(wait, 0.0))

    def succeed(self, attempt: Attempt) -> None:
        """Take an attempt back, forget the failures of its name, and know its pair of name and address.

        The address keeps its earlier failures: an attacker's own account must not clear them.
        """
        self.take_back(attempt)
        for kind, key in attempt.keys:
            if kind != "address":
                self._failures[kind].pop(key, None)
        self._known[attempt.pair] = None
        self._known.move_to_end(attempt.pair)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def take_back(self, attempt: Attempt) -> None:
        """Do not count an attempt: its password was right, or was not judged."""
        for kind, key in attempt.keys:
            failures = self._failures[kind].get(key)
            if failures is not None:
                failures.count -= 1
                if failures.count <= 0:
                    del self._failures[kind][key]

    def _wait(self, kind: str, key: str, now: float) -> float:
        failures = self._failures[kind].get(key)
        if failures is None or failures.count < FREE or now - failures.last >= FORGET_SECONDS:
            return 0.0
        longest = ADDRESS_SECONDS if kind == "address" else NAME_SECONDS
        delay = min(longest, FIRST_SECONDS * 2.0 ** min(failures.count - FREE, 30))
        return failures.last + delay - now

    def _count(self, kind: str, key: str, now: float) -> None:
        table = self._failures[kind]
        failures = table.setdefault(key, _Failures(0, now))
        if now - failures.last >= FORGET_SECONDS:
            failures.count = 0
        failures.count, failures.last = failures.count + 1, now
        table.move_to_end(key)
        while len(table) > self._most:
            table.popitem(last=False)


def _network(address: str) -> str:
    """Return what one client has: an IPv4 address, the /64 of an IPv6 address.

    >>> _network("2001:db8::1") == _network("2001:db8::ffff:1"), _network("::ffff:192.0.2.1")
    (True, '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
