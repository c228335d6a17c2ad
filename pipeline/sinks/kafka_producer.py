"""The producer of every topic of ours: each record acknowledged, one request in flight, discarded after a failure.

kafka-python 3.0.12: with an idempotent producer, a record that expires in flight at a frozen broker blocks the producer
for good. Idempotence is therefore off, one request is in flight at a time, and a producer that failed is discarded.
"""

from __future__ import annotations

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from pipeline.sinks.kafka_broker import Broker

#: Errors that the broker would repeat for the same record.
PERMANENT_ERRORS = (MessageSizeTooLargeError, RecordListTooLargeError)


def open_producer(broker: Broker, client_id: str, request_timeout_seconds: float = 10.0) -> KafkaProducer:
    """Return a connected producer; close it with :func:`close_producer`.

    Args:
        request_timeout_seconds: for one answer of a broker; a record without an answer for this time has failed.

    Raises:
        BrokerUnavailableError: as :meth:`Broker.client`.
    """
    timeout_ms = int(request_timeout_seconds * 1000)
    return broker.client(
        KafkaProducer,
        client_id=client_id,
        acks="all",
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        request_timeout_ms=timeout_ms,
        # No second attempt over the same producer: its connection may have died without a sign.
        delivery_timeout_ms=timeout_ms,
        max_block_ms=timeout_ms,
        allow_auto_create_topics=False,
    )


def close_producer(producer: KafkaProducer) -> None:
    """Close a producer for good: with a record in flight, ``close`` raises and leaves a thread that reconnects."""
    try:
        producer.close(timeout=1)
    except KafkaError:
        producer._sender.force_close()
