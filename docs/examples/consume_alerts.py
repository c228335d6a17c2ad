"""Print alerts as they begin and end: python consume_alerts.py HOST:PORT [TOPIC]."""

import json
import sys
from collections import deque

from kafka import KafkaConsumer

topic = sys.argv[2] if len(sys.argv) > 2 else "mistwatch.alerts"
consumer = KafkaConsumer(topic, bootstrap_servers=sys.argv[1], group_id="my-alerts", auto_offset_reset="earliest")
seen = deque(maxlen=10_000)  # events are delivered at least once
shown = set()  # alerts that have begun here and have not ended
for message in consumer:
    event = json.loads(message.value)
    if not event["type"].startswith("mistwatch.alert.") or event["id"] in seen:
        continue  # drift, tampering, judgements; or an event that came twice
    seen.append(event["id"])
    alert = event["data"]
    key = alert["alert_id"]
    if alert["state"] == "begin" and not alert.get("muted"):
        shown.add(key)
        print(f"{alert['started_at']} {alert['camera']}: score {alert['peak']['smoothed_score']:.2f}", flush=True)
    elif alert["state"] == "end" and key in shown:
        shown.remove(key)
        print(f"{alert['ended_at']} {alert['camera']}: over, {alert['end_reason']}", flush=True)
