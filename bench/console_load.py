"""Load the console: 64 cameras at their real pace, 10,000 alerts of history, 20 browsers, for half an hour.

    python bench/console_load.py [--minutes 30] [--cameras 64] [--alerts 10000] [--browsers 20]

runs `mistwatch console` in a process of its own over the embedded broker. bench/console_feed.py publishes the records
of the cameras at the pace of real workers, and an alert every other second. The browsers (bench/console_browsers.py)
keep a stream of updates each and load the pictures of twelve tiles; their connections break at random and resume. One
of them is Chromium with the wall. One more browser reads nothing at all. Meanwhile pages are timed, each beside an
empty one.

* Memory is private and shared anonymous memory of the console (Pss_Anon and Pss_Shmem), the lowest of the looks of each
  minute. It may grow by the rows of the new scores, whose size is known, and by a tenth.
* Updates have numbers. A browser has lost none when the numbers that it has got follow one another without a gap, and
  when it has the begin and the end of each alert that was published while it listened.

It writes bench/results/console_load.json and its section of docs/OPERATIONS.md, and ends with status 1 where one of
these does not hold. The figures are ratios and counts, so it may run beside other work; the delays are of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import console_load_page
from console_browsers import VISIBLE, Browser, Listened, read_nothing, timed
from console_feed import GROUPS, PLACE, Feed
from console_figures import memory, objections, pages, updates
from console_process import Console, Looks
from processor_time import tree_seconds

from deploy.broker.server import BrokerServer

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "console_load.json"
#: Seconds between two rounds of timed pages.
PAUSE_SECONDS = 4.0
#: A browser that reads nothing is to be gone after this time, seconds.
STUCK_SECONDS = 75.0


def paths(feed: Feed) -> dict[str, str]:
    """Return the pages that are timed; the first one is empty."""
    camera = feed.names[len(feed.names) // 2]
    now = time.time()
    day = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - span * 86_400)) for span in (2.0, 1.0)]
    return {
        "empty page": "/health",
        "wall": "/api/cameras",
        "alerts, first page": "/api/alerts?limit=60",
        "alerts of a camera": f"/api/alerts?limit=60&camera={camera}",
        "alerts at a place": f"/api/alerts?limit=60&place={PLACE}",
        "alerts of a group": f"/api/alerts?limit=60&group={feed.groups[GROUPS // 2]}",
        "alerts judged real": "/api/alerts?limit=60&judgement=real",
        "muted alerts": "/api/alerts?limit=60&muted=true",
        "alerts of a day": f"/api/alerts?limit=60&since={day[0]}&until={day[1]}",
        "no alert matches": "/api/alerts?limit=60&detector=none&judgement=real&place=nowhere",
        "groups": "/api/groups",
    }


async def browse(console: Console, feed: Feed, options: argparse.Namespace, chromium: Any) -> Listened:
    """Let the browsers listen for the time of the run."""
    over = asyncio.Event()
    browsers = []
    for number in range(options.browsers - (chromium is not None)):
        cameras = [feed.names[(number * 5 + place) % len(feed.names)] for place in range(VISIBLE)]
        browsers.append(Browser(console.url, cameras, number))
    running = [asyncio.ensure_future(one.run(over)) for one in browsers]
    kept = asyncio.ensure_future(_keep_reading(chromium, finishing := asyncio.Event()))
    while not all(one.seen.updates for one in browsers):
        await asyncio.sleep(0.1)
    found = Listened(time.monotonic())
    until = found.began + options.minutes * 60
    while time.monotonic() + STUCK_SECONDS + 5 < until:
        found.ended.append(await asyncio.to_thread(read_nothing, console.port, STUCK_SECONDS))
    await asyncio.sleep(max(0.0, until - time.monotonic()))
    found.finished = time.monotonic()
    finishing.set()
    await kept
    if chromium is not None:
        got = [await asyncio.to_thread(chromium.evaluate, f"window.{name}") for name in ("begun", "ended")]
        found.page = set(got[0]), set(got[1])
    over.set()
    await asyncio.gather(*running)
    found.seen = [one.seen for one in browsers]
    found.problems = [one.problem for one in browsers if one.problem]
    return found


async def _keep_reading(chromium: Any, over: asyncio.Event) -> None:
    """Read what Chromium says of its page: it stands still once its pipe is full."""
    while chromium is not None and not over.is_set():
        await asyncio.to_thread(chromium.evaluate, "0")
        await asyncio.sleep(0.5)


@contextlib.contextmanager
def wall(console: Console, *, wanted: bool) -> Iterator[Any]:
    """Yield a page of Chromium with the wall, which notes the alerts that it gets; None without one."""
    if not wanted:
        yield None
        return
    from chromium import Chromium

    with Chromium() as browser:
        page = browser.open(console.url)
        page.wait_for("document.querySelector('main').dataset.ready === 'yes'")
        page.evaluate(
            "(window.begun = [], window.ended = [], import('/static/link.js').then((link) => link.on('alert',"
            " (one) => (one.is_open ? window.begun : window.ended).push(one.id))), true)"
        )
        yield page


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all of it, and return the figures."""
    with BrokerServer(folder / "broker") as broker:
        feed = Feed(broker.bootstrap, options.cameras, options.alert_seconds)
        feed.history(options.alerts)
        console = Console(broker.bootstrap, folder / "console.log")
        try:
            console.known(options.alerts)
            feed.start()
            console.watched(options.cameras)
            spent, looks = tree_seconds(console.process.pid), Looks(console.process.pid)
            timings: dict[str, list[float]] = {}
            over, pause = threading.Event(), min(PAUSE_SECONDS, 6 * options.minutes)
            timer = threading.Thread(
                target=lambda: timings.update(timed(console.url, paths(feed), over, pause)), daemon=True
            )
            timer.start()
            with wall(console, wanted=options.chromium) as chromium:
                listened = asyncio.run(browse(console, feed, options, chromium))
            spent = (tree_seconds(console.process.pid) - spent) / (time.monotonic() - looks.began)
            looks.stop()
            over.set()
            timer.join(120)
            feed.stop()
            log = console.text()
        finally:
            status = console.stop()
    return {
        "minutes": round((listened.finished - listened.began) / 60, 2),
        "cameras": options.cameras,
        "alerts_of_history": options.alerts,
        "records": feed.ledger.records,
        "console_cores": round(spent, 3),
        "memory": memory(looks, feed, options),
        "pages": pages(timings),
        "updates": updates(listened, feed),
        "stuck": {
            "streams": len(listened.ended),
            "ended": sum(listened.ended),
            "lines": sum("takes no updates" in line for line in log.splitlines()),
        },
        "tracebacks": log.count("Traceback"),
        "status": status,
    }


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="console-load-") as folder:
        found = run(options, Path(folder))
    results = RESULTS if options.out is None else options.out
    results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.out is None:
        console_load_page.write()
    problems = objections(found)
    for problem in problems:
        print(f"console_load: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--alerts", type=int, default=10_000, help="alerts of history")
    parser.add_argument("--alert-seconds", type=float, default=2.0, help="between the begins of two new alerts")
    parser.add_argument("--browsers", type=int, default=20)
    parser.add_argument("--chromium", action=argparse.BooleanOptionalAction, default=True, help="one of the browsers")
    parser.add_argument("--out", type=Path, help="file for the figures in place of the committed ones")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
