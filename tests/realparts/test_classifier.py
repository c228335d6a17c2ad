"""From twenty pictures to an alert with heat: trained, exported and watched."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hearing import Heard
from labelled_pictures import BOX, write_classes, write_film, yard
from PIL import Image
from triton_of_brightness import until

from deploy.camera.server import CameraServer
from deploy.triton.server import TritonServer
from pipeline.alerts.event import AlertEvent
from pipeline.live.service import Service
from pipeline.settings import load_site

pytestmark = [pytest.mark.realparts, pytest.mark.alone]


def mistwatch(*arguments: object) -> None:
    command = [sys.executable, "-P", "-m", "pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_from_twenty_pictures_to_an_alert(tmp_path: Path, broker: str, root: Path) -> None:
    """A red box stands in the yard for 6 s in each turn of 20 s."""
    pictures = write_classes(tmp_path / "pictures", normal=10, anomaly=10)
    recipe, run = root / "configs" / "train" / "classifier.yaml", tmp_path / "run"
    size = ("--set", "height=96", "--set", "width=128", "--set", "draws=50")
    mistwatch("train", "classifier", "--config", recipe, "--data", pictures, "--out", run, *size)
    mistwatch("export", "--model", run / "product", "--out", tmp_path / "repository", "--as", "box")
    film = write_film(tmp_path / "yard.mp4", [yard(1000 + at, box=80 <= at < 140) for at in range(200)])
    with (
        CameraServer({"yard": film}) as cameras,
        TritonServer(tmp_path / "repository", log=tmp_path / "t.log") as triton,
    ):
        site, topic = tmp_path / "site.yaml", f"t{tmp_path.name}"
        document: dict[str, Any] = {
            "site": "test",
            "state_dir": "state",
            "triton": {"address": triton.grpc_address},
            "kafka": {"bootstrap": broker, "topic": topic},
            "detectors": {"box": {"model": "box"}},
            "cameras": {"yard": {"source": cameras.url("yard")}},
        }
        site.write_text(json.dumps(document))  # JSON is YAML
        heard: list[AlertEvent] = []
        service = Service(load_site(site), listeners=[Heard(accepted=heard.append)])
        try:
            assert service.prepare(threading.Event(), patient=True)
            service.start()
            until(lambda: any(event.type.endswith("end") for event in heard))
        finally:
            service.close(relay_seconds=60)
    assert {event.subject for event in heard} == {"yard"}
    begun = heard[0]
    assert begun.type == "mistwatch.alert.begin"
    shown = next(uri for event in heard for uri in event.data.evidence)
    check_heat(np.asarray(Image.open(urlsplit(shown).path).convert("RGB")).astype(float))


def check_heat(picture: np.ndarray) -> None:
    """Check that the picture is redder around the box than in the far corner."""
    red = picture[..., 0] - picture[..., 2]
    rows, columns = BOX
    assert red[rows, columns].mean() > 60
    # The box itself is red: around it, the heat is.
    around = red[rows.start - 14 : rows.start - 8, columns].mean()
    assert around > red[:24, :32].mean() + 15
