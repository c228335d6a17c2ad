"""The documents' site: built as ``make docs`` builds it, and read without the network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

_ELSEWHERE = re.compile(r"\s*(?:https?:)?//")
_IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")]+)")


class Loaded(HTMLParser):
    """Addresses that a browser fetches for a page by itself; links to follow are not among them."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.addresses += [address for key in ("src", "srcset", "poster") if (address := named.get(key))]
        if tag == "link" and named.get("rel") not in ("canonical", "next", "prev", "search", "index"):
            self.addresses.append(named.get("href") or "")


def from_elsewhere(text: str, suffix: str) -> Iterator[str]:
    """Yield the addresses of other hosts that a page or a style sheet loads."""
    if suffix == ".css":
        yield from _IN_STYLES.findall(text)
        return
    page = Loaded()
    page.feed(text)
    yield from (address for address in page.addresses if _ELSEWHERE.match(address))
    yield from _IN_STYLES.findall("".join(re.findall(r"<style.*?</style>", text, re.DOTALL)))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="missing: the extra docs")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    built = subprocess.run([*command, "--conf-dir", root / "docs", root, site], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr

    pages = [file for suffix in ("html", "css") for file in site.rglob(f"*.{suffix}")]
    found = {
        str(file.relative_to(site)): addresses
        for file in pages
        if (addresses := list(from_elsewhere(file.read_text(encoding="utf-8"), file.suffix)))
    }
    assert found == {}
    for name in ("index", "README", "docs/index", "docs/guide/learn", "docs/OPERATIONS", "docs/api/operators"):
        assert (site / f"{name}.html").is_file()
    reference = (site / "docs" / "api" / "operators.html").read_text(encoding="utf-8")
    assert 'id="operators.smoothing.CausalMovingAverage"' in reference


@pytest.mark.parametrize(
    ("text", "suffix", "found"),
    [
        ('<a href="https://a.example"></a><script src="https://b.example/c">', ".html", ["https://b.example/c"]),
        ('<link rel="stylesheet" href="//fonts.example/a.css"><img src="a.png">', ".html", ["//fonts.example/a.css"]),
        ("<style>a { background: url(https://example.org/a.png) }</style>", ".html", ["https://example.org/a.png"]),
        ("@font-face { src: url('https://fonts.example/a.woff2') }", ".css", ["https://fonts.example/a.woff2"]),
        ("a { background: url('data:image/svg+xml,x') }", ".css", []),
    ],
)  # fmt: skip
def test_addresses_of_other_hosts_are_found(text: str, suffix: str, found: list[str]) -> None:
    assert list(from_elsewhere(text, suffix)) == found
