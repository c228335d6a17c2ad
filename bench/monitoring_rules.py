"""The alert rules for Prometheus: when an operator is called, and what the call says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Share of a camera's clips without a score that calls an operator.
MOST_DROPPED = 0.1
#: Events that may wait for a sink; an outbox takes 100,000 by default.
MOST_WAITING = 1000
#: Restarts within half an hour that are not an update.
MOST_RESTARTS = 2
#: The 95th percentile of the time from a clip's last frame to its score, seconds.
MOST_DELAY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert.

    Attributes:
        lasts: how long the expression must hold, as Prometheus writes it.
        summary: one line with the labels, for a pager.
        action: a sentence for the operator: what to do.
    """

    name: str
    expression: str
    lasts: str
    severity: Literal["critical", "warning"]
    summary: str
    action: str


def grown(counter: str, window: str) -> str:
    """Return an expression that holds for a series that has grown within ``window``, or was born in it."""
    return f"increase({counter}[{window}]) > 0 or ({counter} > 0 unless {counter} offset {window})"


_DROPPED = 'sum by (job, camera) (rate(mistwatch_clips_dropped_total{reason!="shutdown"}[5m]))'
_OTHERS = tuple(f"(sum by (job, camera) (rate(mistwatch_clips_{name}_total[5m])) or 0 * {_DROPPED})"
                for name in ("scored", "gated"))  # fmt: skip
#: Series of the worker's process alone: other jobs have a series of this name, too.
_OF_WORKERS = "and on (job, instance) mistwatch_outbox_depth"

RULES: dict[str, tuple[Rule, ...]] = {
    "cameras": (
        Rule("CameraDark", "max by (job, camera) (mistwatch_camera_connected) == 0", "2m", "critical",
             "Camera {{ $labels.camera }} has delivered no frames for two minutes.",
             "Look at the reason in the camera's line of `mistwatch status`, then at its power, network and password."),
        Rule("CameraGivenUp", 'max by (job, camera) (mistwatch_camera_state{state="failed"}) == 1', "1m", "critical",
             "Camera {{ $labels.camera }} is given up and will not be tried again.",
             "Correct its source or its settings and add it again; the worker's log says what is wrong."),
        Rule("CameraTampered", "max by (job, camera, kind) (mistwatch_tamper_active) == 1", "1m", "critical",
             "Camera {{ $labels.camera }} is {{ $labels.kind }}.",
             "Look at its picture and send someone to the camera; its scores mean nothing meanwhile."),
        Rule("CameraDrifted", "max by (job, camera, detector) (mistwatch_drift) == 1", "1h", "warning",
             "Camera {{ $labels.camera }} no longer looks as detector {{ $labels.detector }} has learned it.",
             "Look for a change of the scene, the season or the lens, and learn the camera from new footage."),
        Rule("CameraPartMissing", "max by (job, camera, detector) (mistwatch_part_missing) == 1", "10m", "warning",
             "Detector {{ $labels.detector }} does not watch camera {{ $labels.camera }}: its part is missing.",
             "Export the camera's part into the hosting model, or take the detector off the camera."),
        Rule("CameraClockWrong", grown("mistwatch_clock_faults_total", "1h"), "0m", "warning",
             "The clock of camera {{ $labels.camera }} is at fault ({{ $labels.reason }}).",
             "Set the camera's clock by NTP; alerts of this camera carry the time of arrival meanwhile."),
        Rule("CameraStampsUnusable", grown("mistwatch_stamps_unusable_total", "1h"), "0m", "warning",
             "The time stamps of camera {{ $labels.camera }} cannot be used.",
             "The camera is watched by the time of arrival; update its firmware or read another of its streams."),
    ),
    "clips": (
        Rule("ClipsDropped", f"{_DROPPED} / ({_DROPPED} + {' + '.join(_OTHERS)}) > {MOST_DROPPED}", "5m", "warning",
             "{{ $value | humanizePercentage }} of the clips of camera {{ $labels.camera }} have no score.",
             "Look at the reason on the dashboard: for `overload` add scorers or workers, or raise the stride."),
        Rule("ClipsRefused", grown('mistwatch_clips_dropped_total{reason="error"}', "15m"), "0m", "warning",
             "Triton refuses clips of camera {{ $labels.camera }}, or fails on them.",
             "Read the reason in the worker's log, and compare the served model with the site's settings."),
        Rule("ScorerAway", "mistwatch_scorer_away == 1", "2m", "critical",
             "Worker {{ $labels.instance }} scores nothing: Triton or a model is away.",
             "Look at Triton's pod or container and at its log; nothing is lost but the clips of this time."),
        Rule("ScoresLate",
             "histogram_quantile(0.95, sum by (job, instance, le) "
             f"(rate(mistwatch_capture_to_score_seconds_bucket[5m]))) > {MOST_DELAY_SECONDS}", "10m", "warning",
             "Scores of worker {{ $labels.instance }} come {{ $value | humanizeDuration }} after the picture.",
             "The scorer is slower than its cameras: see the table of sizes in docs/PERFORMANCE.md."),
    ),
    "delivery": (
        Rule("SinkAway", "mistwatch_sink_away == 1", "2m", "critical",
             "Sink {{ $labels.sink }} takes no events of worker {{ $labels.instance }}; they are kept.",
             "Look at the broker or the endpoint; the worker's log names the reason, and delivery resumes by itself."),
        Rule("OutboxFilling", f"min_over_time(mistwatch_outbox_events[10m]) > {MOST_WAITING}", "5m", "warning",
             "{{ $value }} events of worker {{ $labels.instance }} wait for sink {{ $labels.sink }}.",
             "Bring the sink back before the outbox is full (outbox.max_events): it then refuses new alerts."),
        Rule("OutboxRefuses", grown("mistwatch_outbox_refused_total", "10m"), "0m", "critical",
             "Alerts of camera {{ $labels.camera }} are lost to sink {{ $labels.sink }}: its outbox is full.",
             "Bring the sink back; alerts that were refused do not come to it any more."),
        Rule("EventsSetAside", grown("mistwatch_events_set_aside_total", "1h"), "0m", "warning",
             "Sink {{ $labels.sink }} refuses events of worker {{ $labels.instance }} for good.",
             "Read the reason in the worker's log or on the dead-letter topic; `mistwatch outbox` lists them."),
        Rule("AlertsUnsecured", grown("mistwatch_alerts_unsecured_total", "1h"), "0m", "warning",
             "Alerts of camera {{ $labels.camera }} began while the topic of scores was away.",
             "Look at the broker; if the worker dies now, the next one may begin the alert a second time."),
        Rule("EvidenceStoreAway", "mistwatch_evidence_store_away == 1", "10m", "warning",
             "The object store takes no pictures and films of worker {{ $labels.instance }}; they are kept.",
             "Read the reason in the worker's log; bring it back before the folder is full (evidence.quota_mb)."),
        Rule("EvidenceLost", grown("mistwatch_evidence_dropped_total", "1h"), "0m", "warning",
             "Pictures and films of worker {{ $labels.instance }} are lost to the store: {{ $labels.reason }}.",
             "Bring the store back, or raise evidence.quota_mb and evidence.max_age_days."),
    ),
    "workers": (
        Rule("WorkerDown", 'up{job=~".*mistwatch.*"} == 0', "2m", "critical",
             "{{ $labels.job }} at {{ $labels.instance }} does not answer.",
             "Look at its log and restart it; a group's other workers watch its cameras meanwhile."),
        Rule("NoWorker", "absent(mistwatch_outbox_depth)", "5m", "critical",
             "Not one worker is seen: no camera is watched.",
             "Start the workers; if they run, correct the addresses that Prometheus scrapes."),
        Rule("WorkerRestarts", f"changes(process_start_time_seconds[30m]) > {MOST_RESTARTS} {_OF_WORKERS}", "0m",
             "critical",
             "Worker {{ $labels.instance }} has restarted {{ $value }} times in half an hour.",
             "Read the last lines of its log before each start; compare its memory with its limit."),
        Rule("WorkerOverloaded", "mistwatch_group_overloaded == 1", "10m", "warning",
             "Worker {{ $labels.instance }} has more cameras than its capacity.",
             "Start another worker of the group, or raise group.capacity if its processor has room."),
        Rule("ControlMessageRefused", grown("mistwatch_control_messages_refused_total", "15m"), "0m", "warning",
             "Worker {{ $labels.instance }} cannot use a control message.",
             "Correct the camera with `mistwatch cameras add`; the worker's log has partition and offset."),
    ),
}  # fmt: skip


def document() -> dict[str, object]:
    """Return the rules as Prometheus reads them."""
    return {
        "groups": [
            {"name": f"mistwatch-{group}", "rules": [_rule(rule) for rule in rules]} for group, rules in RULES.items()
        ]
    }


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "alert": f"Mistwatch{rule.name}",
        "expr": rule.expression,
        "for": rule.lasts,
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary, "action": rule.action},
    }
