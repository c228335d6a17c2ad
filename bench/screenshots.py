"""Take the pictures of the console in README and on the site: wall, camera and alert, desk and phone, light and dark.

    python bench/screenshots.py [PAGE…]

A site is published to an embedded broker as workers would publish it: six rendered courtyards with their scores, and
alerts at the incidents that the renderer knows of. The heat lies on the incident's true box. The console serves it, and
Chromium takes the pictures. They become docs/console-PAGE-SIZE-SCHEME.webp of at most 100 kB each. Look at them before
you commit them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import av
import numpy as np
from PIL import Image

from deploy.broker.server import BrokerServer
from operators.alerting import AlertState
from pipeline.alerts.evidence import encode_jpeg
from pipeline.alerts.likeness import SimilarAlert
from pipeline.console.readers import Topics
from pipeline.console.serving import Console
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, SceneSettings
from pipeline.heat import Heat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
from chromium import Chromium, Page  # noqa: E402
from console_scene import STEP, Scene, alert, heat_at, report, score_records  # noqa: E402

CAMERAS = ("courtyard", "north-gate", "loading-dock", "car-park", "bike-shed", "reception")
#: Cameras whose newest incident goes on.
OPEN = ("courtyard", "car-park")
#: For the camera that has a page of its own; the others have a fraction.
HOURS, FEW_HOURS = 3.0, 0.15
SIZES = {"desk": (1280, 800, 1.0), "phone": (390, 844, 2.0)}
PAGES = ("wall", "camera", "alert")
MOST_BYTES = 100_000
FPS, SCENE_SECONDS = 5, 180
PATIENCE = 300.0  #: seconds for a page on a busy machine


@dataclass
class Site:
    """The cameras, their scenes and the alerts that were published."""

    scene: Scene
    folder: Path
    courtyards: dict[str, Courtyard]
    shown: UUID | None = None
    open_ids: dict[str, list[UUID]] = field(default_factory=dict)

    def publish(self) -> None:
        """Publish hours of scores and the alerts of the last hours."""
        draw = np.random.default_rng(3)
        now = datetime.now(UTC)
        for name in self.courtyards:
            values = _scores(draw, HOURS if name == CAMERAS[0] else FEW_HOURS, is_open=name in OPEN)
            self.scene.scores(*score_records(name, values, until=now))
        earlier: list[SimilarAlert] = []
        for number in range(24):
            name = CAMERAS[number % len(CAMERAS)]
            incidents = self.courtyards[name].incidents
            which = incidents[(number // len(CAMERAS)) % len(incidents)]
            at = now - timedelta(minutes=6 + 7 * (24 - number))
            events = alert(
                name,
                at,
                seconds=7.0 + number % 5,
                peak=0.66 + 0.03 * (number % 9),
                evidence=[self._picture(name, which)],
                angle=30.0 * (list(type(which.kind)).index(which.kind)),
                similar=earlier[-4:][::-1],
            )
            self.scene.events(*events)
            data = events[0].data
            earlier.append(
                SimilarAlert(
                    alert_id=data.alert_id, camera=name, started_at=data.started_at, similarity=0.93, judgement=None
                )
            )
            self.shown = data.alert_id
        for name in OPEN:
            which = self.courtyards[name].incidents[-1]
            (begun,) = alert(
                name,
                now - timedelta(seconds=15),
                seconds=10,
                states=[AlertState.BEGIN],
                evidence=[self._picture(name, which)],
                angle=120.0,
            )
            self.scene.events(begun)
            self.open_ids[name] = [begun.data.alert_id]

    def go_on(self, stopping: threading.Event) -> None:
        """Publish states and live pictures until ``stopping`` is set; alerts that are open stay on their incident."""
        frame = 200
        while not stopping.is_set():
            for name, courtyard in self.courtyards.items():
                self.scene.reports(report(name, heartbeat_seconds=60.0, open_alerts=self.open_ids.get(name, [])))
                if name in OPEN:
                    place = _middle(courtyard.incidents[-1])
                    self.scene.picture(name, _rendered(courtyard, place), _heat(courtyard, place))
                else:
                    self.scene.picture(name, _rendered(courtyard, _quiet(courtyard, frame)))
            frame += FPS
            stopping.wait(1.0)

    def _picture(self, name: str, incident: Incident) -> str:
        courtyard, place = self.courtyards[name], _middle(incident)
        path = self.folder / name / f"{place}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(_rendered(courtyard, place), _heat(courtyard, place)))
        return path.as_uri()


def _scores(draw: np.random.Generator, hours: float, *, is_open: bool) -> list[float]:
    """Return smoothed scores of a usual camera, with a few excursions; of an open alert, the last ones are high."""
    count = int(hours * 3600 / STEP)
    noise = np.convolve(draw.normal(0, 1, count + 200), np.ones(90) / 90, "same")[:count]
    values = 0.24 + 0.5 * noise + 0.02 * draw.normal(0, 1, count)
    for _ in range(int(hours * 3)):
        at = int(draw.integers(100, count - 100))
        values[at : at + 25] += draw.uniform(0.2, 0.55)
    if is_open:
        values[-24:] = 0.76 + 0.02 * draw.normal(0, 1, 24)
    return [float(value) for value in np.clip(values, 0.02, 0.98)]


def _middle(incident: Incident) -> int:
    return (incident.first_frame + incident.last_frame) // 2


def _quiet(courtyard: Courtyard, frame: int) -> int:
    """Return the first frame from ``frame`` on that shows no incident."""
    while courtyard.truth(frame % courtyard.frame_count):
        frame += 1
    return frame % courtyard.frame_count


def _rendered(courtyard: Courtyard, frame: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(courtyard.frame(frame), format="rgb24")


def _heat(courtyard: Courtyard, frame: int) -> Heat | None:
    """Return heat around the true box of the incident, None where it is hidden."""
    seen = courtyard.truth(frame)
    if not seen:
        return None
    left, top, right, bottom = seen[0].box
    width, height = courtyard.settings.width, courtyard.settings.height
    return heat_at((left + right) / 2 / width, (top + bottom) / 2 / height, width, height)


@contextlib.contextmanager
def _served() -> Iterator[tuple[Console, Site]]:
    """A console over the published site."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name, BrokerServer(Path(name) / "broker") as broker:
        evidence = Path(name) / "evidence"
        evidence.mkdir()
        courtyards = {
            camera: Courtyard(SceneSettings(seed=20 + place, seconds=SCENE_SECONDS, fps=FPS))
            for place, camera in enumerate(CAMERAS)
        }
        site = Site(Scene(broker.bootstrap), evidence, courtyards)
        site.publish()
        console = Console(broker.bootstrap, Topics(), evidence=evidence, port=0)
        stopping = threading.Event()
        publishing = threading.Thread(target=site.go_on, args=(stopping,), name="scene")
        publishing.start()
        try:
            console.start()
            yield console, site
        finally:
            console.stop()
            stopping.set()
            publishing.join()
            site.scene.close()


def _photograph(page: Page, file: Path, height: int) -> int:
    """Write a picture of the page as WebP, the best quality that fits; return its bytes."""
    with tempfile.TemporaryDirectory() as name:
        shot = Path(name) / "page.png"
        page.screenshot(shot, height=height)
        picture = Image.open(shot).convert("RGB")
        for quality in range(90, 20, -5):
            content = io.BytesIO()
            picture.save(content, "WEBP", quality=quality, method=6)
            if content.tell() <= MOST_BYTES:
                file.write_bytes(content.getvalue())
                return content.tell()
    raise SystemExit(f"{file.name}: more than {MOST_BYTES} bytes at every quality; take fewer pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(PAGES)}; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the pictures")
    options = parser.parse_args()
    if unknown := set(options.pages) - set(PAGES):
        parser.error(f"unknown pages {', '.join(sorted(unknown))}; expected {', '.join(PAGES)}")
    with _served() as (console, site), Chromium() as browser:
        paths = {"wall": "/", "camera": f"/cameras/{CAMERAS[0]}", "alert": f"/alerts/{site.shown}"}
        for name in options.pages or PAGES:
            for size, (width, height, scale) in SIZES.items():
                for scheme in ("light", "dark"):
                    dark = scheme == "dark"
                    page = browser.open(console.url + paths[name], width=width, height=height, dark=dark, scale=scale)
                    page.wait_for("document.querySelector('#main')?.dataset.ready", PATIENCE)
                    page.wait_for("[...document.images].every((one) => one.complete)", PATIENCE)
                    time.sleep(3)  # the first live pictures come by themselves
                    file = options.out / f"console-{name}-{size}-{scheme}.webp"
                    print(f"{file.name}: {_photograph(page, file, height)} bytes", flush=True)
                    page.call("Page.navigate", url="about:blank")


if __name__ == "__main__":
    main()
