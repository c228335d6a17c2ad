"""The panels of the Grafana dashboards: what each shows, and the rows in which they stand.

A metric that no panel here names gets one of its own from :mod:`monitoring`, so a new metric is never missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "table", "bargauge", "state-timeline"]

#: The range over which rates are taken; Grafana fits it to the scrapes.
RATE = "[$__rate_interval]"
#: Only the cameras that are chosen at the top of the dashboard.
CAMERA = 'camera=~"$camera"'
#: Only the workers that are chosen at the top of the dashboard.
WORKER = 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        queries: PromQL and legend of each line; an empty legend shows the labels.
        about: one sentence for the person who looks at it.
        unit: Grafana's name of the unit.
        width: of the 24 columns of a row.
    """

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    stacked: bool = False


def quantiles(metric: str, labels: str = "", by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the queries of the median and of the 95th percentile of a histogram, one line for each value of ``by``."""
    kept = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    buckets = f"sum by ({kept}) (rate({metric}_bucket{{{labels}}}{RATE}))"
    return tuple((f"histogram_quantile({share}, {buckets})", f"{legend}{name}") for share, name in SHARES)


SHARES = ((0.5, "median"), (0.95, "95th percentile"))


def rate(metric: str, labels: str, by: str) -> str:
    """Return the sum of a counter's rates for each value of ``by``."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))"


def hourly(metric: str, labels: str, by: str) -> str:
    """Return the increase of a counter in the last hour, for each value of ``by``."""
    return f"sum by ({by}) (increase({metric}{{{labels}}}[1h]))"


_STATES = 'sum by (state) (mistwatch_camera_state{camera=~"$camera"})'
_CLIPS = "sum(rate(mistwatch_clips_{}_total{{" + CAMERA + "}}" + RATE + "))"

SITE: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel("Cameras connected", "Live cameras that deliver frames.",
                  ((f"sum(mistwatch_camera_connected{{{CAMERA}}})", "connected"),), "stat", width=4),
            Panel("Cameras dark", "Live cameras that deliver nothing.",
                  ((f"count(mistwatch_camera_connected{{{CAMERA}}} == 0) or vector(0)", "dark"),), "stat", width=4),
            Panel("Alerts in the last hour", "Alerts begun, all cameras together.",
                  ((f"sum(increase(mistwatch_alerts_total{{{CAMERA}}}[1h]))", "alerts"),), "stat", width=4),
            Panel("Tampered cameras", "Cameras that are covered, moved, frozen, blinded, defocused or corrupt.",
                  ((f"count(sum by (camera) (mistwatch_tamper_active{{{CAMERA}}}) > 0) or vector(0)", "tampered"),),
                  "stat", width=4),
            Panel("Drifted detectors", "Cameras that no longer look as they were learned.",
                  ((f"sum(mistwatch_drift{{{CAMERA}}}) or vector(0)", "drifted"),), "stat", width=4),
            Panel("Events waiting", "Accepted events that some sink does not have.",
                  (("sum(mistwatch_outbox_depth)", "waiting"),), "stat", width=4),
        ),
    ),
    (
        "Cameras",
        (
            Panel("Cameras by state", "Number of live cameras in each state.", ((_STATES, "{{state}}"),), stacked=True),
            Panel("Connected", "1 while a camera delivers frames.",
                  ((f"max by (camera) (mistwatch_camera_connected{{{CAMERA}}})", "{{camera}}"),), "state-timeline"),
            Panel("Frames a second", "Frames decoded, for each camera.",
                  ((rate("mistwatch_frames_decoded_total", CAMERA, "camera"), "{{camera}}"),)),
            Panel("Outages by reason, in the last hour", "Times that a camera was lost or could not be opened.",
                  ((hourly("mistwatch_reconnects_total", CAMERA, "camera, reason"), "{{camera}} {{reason}}"),)),
            Panel("Stalls, in the last hour", "Times that a connected camera gave no frame for its limit.",
                  ((hourly("mistwatch_stalls_total", CAMERA, "camera"), "{{camera}}"),)),
            Panel("Pictures left out, by reason", "Pictures of a live camera left out for their time stamp.",
                  ((rate("mistwatch_pictures_dropped_total", CAMERA, "camera, reason"), "{{camera}} {{reason}}"),)),
            Panel("Clocks at fault, in the last hour", "Faults of the cameras' clocks and time stamps.",
                  ((hourly("mistwatch_clock_faults_total", CAMERA, "camera, reason"), "{{camera}} {{reason}}"),
                   (hourly("mistwatch_stamps_unusable_total", CAMERA, "camera"), "{{camera}} stamps unusable"))),
            Panel("Parts and backgrounds", "Cameras that wait for their part of a model, and known backgrounds.",
                  ((f"mistwatch_part_missing{{{CAMERA}}}", "{{camera}} {{detector}} part missing"),
                   (f"mistwatch_background_known{{{CAMERA}}}", "{{camera}} {{detector}} background known"))),
        ),
    ),
    (
        "Clips",
        (
            Panel("Clips a second", "Clips scored, kept back by the motion gate, and dropped.",
                  tuple((_CLIPS.format(name), name) for name in ("scored", "gated", "dropped")), stacked=True),
            Panel("Drops by reason", "Clips without a score: the scorer is overloaded, away or late, or refuses them.",
                  ((rate("mistwatch_clips_dropped_total", CAMERA, "reason"), "{{reason}}"),), stacked=True),
            Panel("Drops by camera", "Clips without a score a second, for each camera.",
                  ((rate("mistwatch_clips_dropped_total", CAMERA, "camera"), "{{camera}}"),)),
        ),
    ),
    (
        "Alerts",
        (
            Panel("Alerts, in the last hour", "Alerts begun, for each camera.",
                  ((hourly("mistwatch_alerts_total", CAMERA, "camera"), "{{camera}}"),)),
            Panel("Muted, in the last hour", "Alerts that ended muted, by a judgement or a schedule.",
                  ((hourly("mistwatch_alerts_muted_total", CAMERA, "camera"), "{{camera}}"),)),
            Panel("Likeness and place", "Alerts of the last hour, by when their likeness and place were known.",
                  ((hourly("mistwatch_alerts_likeness_total", CAMERA, "outcome"), "likeness {{outcome}}"),
                   (hourly("mistwatch_alerts_place_total", CAMERA, "outcome"), "place {{outcome}}"))),
        ),
    ),
    (
        "Tampering and drift",
        (
            Panel("Tampering", "1 while a camera is tampered with.",
                  ((f"max by (camera, kind) (mistwatch_tamper_active{{{CAMERA}}})", "{{camera}} {{kind}}"),),
                  "state-timeline"),
            Panel("Tamperings begun, in the last hour", "Each kind of tampering, for each camera.",
                  ((hourly("mistwatch_tamper_total", CAMERA, "camera, kind"), "{{camera}} {{kind}}"),)),
            Panel("Drift", "Share of clips with a score that a tenth of the learned ones has, and the verdict.",
                  ((f"mistwatch_rare_clips_share{{{CAMERA}}}", "{{camera}} {{detector}} share"),
                   (f"mistwatch_drift{{{CAMERA}}}", "{{camera}} {{detector}} drifted"))),
        ),
    ),
)  # fmt: skip

WORKERS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Delay",
        (
            Panel("From the last frame to the score", "Live cameras: the clip's last frame to its score.",
                  quantiles("mistwatch_capture_to_score_seconds", WORKER), unit="s"),
            Panel("From the last frame to the broker", "Live cameras: an event's last frame to its acknowledgement.",
                  quantiles("mistwatch_capture_to_published_seconds", WORKER), unit="s"),
            Panel("Time in each stage", "Live cameras: the stages on the way from a clip's first frame to the broker.",
                  quantiles("mistwatch_stage_seconds", WORKER, "stage"), unit="s"),
        ),
    ),
    (
        "Scorer",
        (
            Panel("Scorer away", "1 while clips, or the start of a worker, wait for Triton or a model.",
                  ((f"mistwatch_scorer_away{{{WORKER}}}", "{{instance}}"),), "state-timeline"),
            Panel("Clips in flight", "Clips sent to Triton and not answered.",
                  ((f"mistwatch_clips_in_flight{{{WORKER}}}", "{{instance}}"),)),
            Panel("Connections replaced, in the last hour", "Connections to Triton that had died without a sign.",
                  ((hourly("mistwatch_scorer_reconnects_total", WORKER, "instance"), "{{instance}}"),)),
            Panel("Triton: requests a second", "Answered and failed requests, as Triton counts them.",
                  ((f"sum by (model) (rate(nv_inference_request_success{RATE}))", "{{model}}"),
                   (f"sum by (model) (rate(nv_inference_request_failure{RATE}))", "{{model}} failed"))),
            Panel("Triton: time in the queue and computing", "Mean time of a request, as Triton counts it.",
                  tuple((f"sum by (model) (rate(nv_inference_{part}_duration_us{RATE})) / 1e6 / "
                         f"sum by (model) (rate(nv_inference_request_success{RATE}))", f"{{{{model}}}} {name}")
                        for part, name in (("queue", "queue"), ("compute_infer", "computing"))), unit="s"),
        ),
    ),
    (
        "Outbox and sinks",
        (
            Panel("Sinks away", "1 while a sink takes no events; they are kept.",
                  ((f"mistwatch_sink_away{{{WORKER}}}", "{{instance}} {{sink}}"),), "state-timeline"),
            Panel("Events waiting", "Events that wait for each sink, and those that some sink lacks.",
                  ((f"mistwatch_outbox_events{{{WORKER}}}", "{{instance}} {{sink}}"),
                   (f"mistwatch_outbox_depth{{{WORKER}}}", "{{instance}} any sink"))),
            Panel("Bytes waiting", "Bytes of the waiting events, and the size of the file with its log.",
                  ((f"mistwatch_outbox_bytes{{{WORKER}}}", "{{instance}} {{sink}}"),
                   (f"mistwatch_outbox_file_bytes{{{WORKER}}}", "{{instance}} file")), unit="bytes"),
            Panel("Alerts refused and updates merged, in the last hour", "The cost of a full outbox.",
                  ((hourly("mistwatch_outbox_refused_total", WORKER, "sink"), "{{sink}} refused"),
                   (hourly("mistwatch_outbox_merged_total", WORKER, "sink"), "{{sink}} merged"))),
            Panel("Events set aside, in the last hour", "Events that a sink refuses, and what became of them.",
                  ((hourly("mistwatch_events_set_aside_total", WORKER, "sink"), "{{sink}} set aside"),
                   (hourly("mistwatch_dead_letters_total", WORKER, "sink"), "{{sink}} dead letters"),
                   (hourly("mistwatch_outbox_dropped_total", WORKER, "sink"), "{{sink}} deleted"))),
            Panel("Connections to sinks replaced, in the last hour", "Connections that failed while in use.",
                  ((hourly("mistwatch_sink_reconnects_total", WORKER, "instance, sink"), "{{instance}} {{sink}}"),)),
        ),
    ),
    (
        "Evidence store",
        (
            Panel("Evidence store away", "1 while the object store takes no pictures and films; they are kept.",
                  ((f"mistwatch_evidence_store_away{{{WORKER}}}", "{{instance}}"),), "state-timeline"),
            Panel("Evidence waiting", "Pictures and films that the object store lacks.",
                  ((f"mistwatch_evidence_waiting{{{WORKER}}}", "{{instance}}"),)),
            Panel("Uploads and losses, in the last hour", "Attempts by outcome, and files lost to the store by reason.",
                  ((hourly("mistwatch_evidence_uploads_total", WORKER, "outcome"), "{{outcome}}"),
                   (hourly("mistwatch_evidence_dropped_total", WORKER, "reason"), "lost: {{reason}}"))),
        ),
    ),
    (
        "Group",
        (
            Panel("Cameras of each worker", "Cameras that a worker of a group watches, and its capacity.",
                  ((f"mistwatch_group_cameras{{{WORKER}}}", "{{instance}}"),
                   (f"mistwatch_group_capacity{{{WORKER}}}", "{{instance}} capacity"))),
            Panel("Workers", "Workers of the group as their leader sees them, and partitions of each.",
                  (("max(mistwatch_group_workers)", "workers"),
                   (f"mistwatch_group_partitions{{{WORKER}}}", "{{instance}} partitions"))),
            Panel("Cameras moved, in the last hour", "Cameras gained, lost, or fenced by another worker's claim.",
                  ((hourly("mistwatch_group_cameras_moved_total", WORKER, "instance, direction"),
                    "{{instance}} {{direction}}"),)),
        ),
    ),
    (
        "Process",
        (
            Panel("Memory", "Resident memory of the worker's process; decoder processes come on top.",
                  ((f"process_resident_memory_bytes{{{WORKER}}}", "{{instance}}"),), unit="bytes"),
            Panel("Processor", "Cores that the worker's process uses; decoder processes come on top.",
                  ((f"rate(process_cpu_seconds_total{{{WORKER}}}{RATE})", "{{instance}}"),)),
            Panel("Age of the process", "A worker that restarts again and again shows a saw.",
                  ((f"time() - process_start_time_seconds{{{WORKER}}}", "{{instance}}"),), unit="s"),
            Panel("Descriptors", "Open file descriptors, and their limit.",
                  ((f"process_open_fds{{{WORKER}}}", "{{instance}}"),
                   (f"process_max_fds{{{WORKER}}}", "{{instance}} limit"))),
        ),
    ),
)  # fmt: skip
