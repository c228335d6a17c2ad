"""Clients of one Kafka cluster: connecting, and one line for every way in which that fails."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.cluster import ClusterMetadata
from kafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from pipeline.errors import UsageError
from pipeline.sinks.base import SinkUnavailableError
from pipeline.sinks.kafka_diagnosis import (
    Address,
    connection_failure,
    describe_mechanisms,
    describe_unreachable,
    offered_mechanisms,
)
from pipeline.sinks.kafka_security import KafkaSecurity, Mechanism, reason_of, security_from_environment
from pipeline.tls import speaks_tls, tls_problem

#: Make network clients with pauses, of a consumer and of a producer; None with a kafka-python that does not allow them.
PACED_CLIENT: Callable[..., Any] | None
PACED_PRODUCER_CLIENT: Callable[..., Any] | None
try:
    from pipeline.sinks.paced_client import paced_client, paced_producer_client
except ImportError:
    PACED_CLIENT = PACED_PRODUCER_CLIENT = None
else:
    PACED_CLIENT, PACED_PRODUCER_CLIENT = paced_client, paced_producer_client

# kafka-python prints its whole configuration, passwords included, at level debug, and a traceback for every
# reconnection at level error. Listeners report what an operator needs to know instead.
logging.getLogger("kafka").setLevel(logging.CRITICAL)

# The client reports why a connection failed (refused credentials, a certificate) to this logger only; see
# _ConnectionErrors.
_connection_log = logging.getLogger("kafka.net.manager")
_connection_log.setLevel(logging.WARNING)
_connection_log.propagate = False
_connection_log.addHandler(logging.NullHandler())

#: The broker's clock says when an event was published, as retention and ``--since`` need it: the clock of a worker may
#: not be set yet, and brokers refuse messages whose own time is an hour ahead.
_TOPIC_CONFIGS = {"message.timestamp.type": "LogAppendTime"}

#: A compacted topic. Kafka compacts closed segments only, and by default closes one after a week: a reader would read
#: the states of a week.
_COMPACTED_CONFIGS = {"cleanup.policy": "compact", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"}

#: Limit for a client to learn the cluster's brokers.
_BOOTSTRAP_SECONDS = 5.0
#: Limit of one answer, where a client sets no other one. kafka-python's own limit is 30 s.
_REQUEST_SECONDS = 10.0

#: Texts for the operator where no answer came in time.
_NEVER_ANSWERED = "does not answer; is it frozen, or does it expect other security settings?"
_STOPPED_ANSWERING = "has stopped answering: it is frozen, or the connection has died; connecting again"

#: The setting that trusts another authority.
_TRUST = "set kafka.security.tls_ca to its authority"

#: Errors of kafka-python that an advertised address which cannot be reached may have caused.
_NO_CONNECTION = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError, OSError)

_SASL_ERRORS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError)

_Client = TypeVar("_Client")


class BrokerAddressError(UsageError):
    """The address of the brokers has another form than ``HOST:PORT[,HOST:PORT…]``. One line."""


class BrokerUnavailableError(SinkUnavailableError):
    """The broker or the topic cannot be used now. One line; trying again may help."""


class Broker:
    """One Kafka cluster, as named by the operator.

    Args:
        bootstrap: ``HOST:PORT[,HOST:PORT…]``.
        security: how to authenticate; by default from the environment.

    Raises:
        KafkaSecurityError: ``security`` or one of its files cannot be used.
        BrokerAddressError: ``bootstrap`` has another form.
    """

    def __init__(self, bootstrap: str, security: KafkaSecurity | None = None) -> None:
        self.bootstrap = bootstrap
        self._addresses = _parse_addresses(bootstrap)
        self._options = (security or security_from_environment()).client_options()
        self._cluster: ClusterMetadata | None = None  # as the last client knows it

    def client(self, kind: Callable[..., _Client], **options: Any) -> _Client:
        """Return a connected client of kafka-python, ``kind(**options)``.

        Raises:
            BrokerUnavailableError: the broker did not answer within a few seconds, or none of the addresses that it
                gives to its clients can be reached; the text names it and the reason.
        """
        self.check_listening()
        # A client whose constructor fails keeps its sockets until the garbage collector finds it: while a broker is
        # frozen for an hour that would be thousands.
        clients: list[Any] = []
        paced = PACED_PRODUCER_CLIENT if kind is KafkaProducer else PACED_CLIENT
        make_network_client = paced or kind.DEFAULT_CONFIG["kafka_client"]  # type: ignore[attr-defined]

        def make_client(**config: Any) -> Any:
            clients.append(make_network_client(**config))
            return clients[-1]

        errors = _ConnectionErrors()
        _connection_log.addHandler(errors)
        try:
            made = kind(
                bootstrap_servers=self.bootstrap.split(","),
                bootstrap_timeout_ms=int(_BOOTSTRAP_SECONDS * 1000),
                reconnect_backoff_max_ms=1000,  # the default makes a reconnection 26 s late
                kafka_client=make_client,
                **self._options,
                **{"request_timeout_ms": int(_REQUEST_SECONDS * 1000)} | options,
            )
            self._cluster = clients[-1].cluster
            self.check_advertised()
            return made
        except (KafkaError, OSError, BrokerUnavailableError) as error:
            for client in clients:
                with contextlib.suppress(Exception):
                    client.close()
            if isinstance(error, BrokerUnavailableError):
                raise
            if errors.cause is not None:
                raise self._refused(errors.cause) from None
            raise self._unavailable(error, _NEVER_ANSWERED) from None
        finally:
            _connection_log.removeHandler(errors)

    def check_listening(self) -> None:
        """Check that one of the addresses accepts a TCP connection. Raises BrokerUnavailableError: none does."""
        reasons = []
        for address in self._addresses:
            if (failure := connection_failure(address)) is None:
                return
            reasons.append(failure)
        raise BrokerUnavailableError(f"{self}: {', '.join(dict.fromkeys(reasons))}; is the broker running there?")

    def check_advertised(self) -> None:
        """Check that one of the addresses that the cluster gives to its clients accepts a TCP connection.

        Raises:
            BrokerUnavailableError: none does; the text names both kinds of address.
        """
        advertised = self._advertised
        if not set(advertised) & set(self._addresses) and (problem := describe_unreachable(advertised, tolerant=True)):
            raise BrokerUnavailableError(f"{self}: {problem}")

    def describe_unreachable(self) -> str | None:
        """Return the addresses of the cluster's brokers that accept no TCP connection, for an error; None: all do.

        One of them may lead the partition that is needed.
        """
        return describe_unreachable(self._advertised, tolerant=False)

    def partitions_without_leader(self, topic: str) -> set[int]:
        """Return the partitions that can be neither read nor written, as the last client's metadata have it."""
        if self._cluster is None:
            return set()
        known: set[int] = self._cluster.partitions_for_topic(topic) or set()
        return known - (self._cluster.available_partitions_for_topic(topic) or set())

    @property
    def _advertised(self) -> list[Address]:
        """The addresses that the cluster gives to its clients."""
        return [] if self._cluster is None else [(broker.host, broker.port) for broker in self._cluster.brokers()]

    def ensure_topic(
        self,
        topic: str,
        *,
        create: bool,
        keep: bool = False,
        compacted_partitions: int | None = None,
        retention_seconds: float | None = None,
    ) -> None:
        """Check that the topic exists, and create it where it is missing and ``create`` allows that.

        Args:
            keep: its messages have no limit of age. The clock of a broker on the same box as the worker may not be set
                either: what it has taken in 1970 would be too old, and gone, as soon as it is.
            retention_seconds: where it is created here, its messages go after this time.

        Raises:
            BrokerUnavailableError: the broker cannot be reached, or the topic is missing and stays so.
        """
        with self.explained(), contextlib.closing(self.client(KafkaAdminClient)) as admin:
            if topic in admin.list_topics():
                if compacted_partitions is not None:
                    self._check_compacted(admin, topic)
                return
            if not create:
                raise BrokerUnavailableError(
                    f"{self}: topic {topic} does not exist; create it, or allow it to be created"
                )
            options: dict[str, Any] = {"configs": _TOPIC_CONFIGS | ({"retention.ms": "-1"} if keep else {})}
            if retention_seconds is not None:
                limits = {
                    "retention.ms": str(int(retention_seconds * 1000)),
                    "segment.ms": str(int(retention_seconds * 1000)),  # closed segments alone are removed
                }
                options = {"configs": _TOPIC_CONFIGS | limits}
            if compacted_partitions is not None:
                options = {"configs": _TOPIC_CONFIGS | _COMPACTED_CONFIGS, "num_partitions": compacted_partitions}
            try:
                admin.create_topics({topic: options}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                pass  # another process was faster
            except KafkaError as error:
                raise BrokerUnavailableError(f"{self}: topic {topic} cannot be created: {reason_of(error)}") from None

    def _check_compacted(self, admin: KafkaAdminClient, topic: str) -> None:
        """Check that the topic keeps the newest record of each key. Raises BrokerUnavailableError: it does not."""
        try:
            found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        except TopicAuthorizationFailedError:
            return  # the user may use the topic, not look at its settings
        policy = found.get("topic", {}).get(topic, {}).get("cleanup.policy", {}).get("value")
        if policy is not None and "compact" not in policy:
            raise BrokerUnavailableError(
                f"{self}: topic {topic} must keep the newest record of each key (got cleanup.policy={policy}); "
                "expected cleanup.policy=compact; alter the topic, or name another one"
            )

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of kafka-python's connected clients into BrokerUnavailableError while the block runs."""
        try:
            yield
        except (KafkaError, OSError) as error:
            raise self._unavailable(error, _STOPPED_ANSWERING) from None

    def _unavailable(self, error: Exception, silent: str) -> BrokerUnavailableError:
        """Return the error for the operator; ``silent`` is its text where no answer came in time."""
        if isinstance(error, _NO_CONNECTION):
            try:
                self.check_listening()
            except BrokerUnavailableError as cause:
                return cause
            if (problem := self.describe_unreachable()) is not None:
                return BrokerUnavailableError(f"{self}: {problem}")
            if (problem := self._tls_problem()) is not None:
                return BrokerUnavailableError(f"{self}: {problem}; check the security settings")
        timed_out = isinstance(error, KafkaTimeoutError | RequestTimedOutError)
        return BrokerUnavailableError(f"{self}: {silent if timed_out else reason_of(error)}")

    def _tls_problem(self) -> str | None:
        """Return why no TLS comes about at the first address that accepts connections; None where all is well."""
        context: ssl.SSLContext | None = self._options.get("ssl_context")
        address = next(filter(lambda each: connection_failure(each) is None, self._addresses), None)
        if address is None:
            return None
        if context is not None:
            return tls_problem(address, context, remedy=_TRUST)
        return "expects TLS at this address; set kafka.security.tls or tls_ca" if speaks_tls(address) else None

    def _refused(self, cause: Exception) -> BrokerUnavailableError:
        """Explain a connection that was made and then not kept."""
        # A broker closes the connection behind its refusal of a mechanism: kafka-python reports either.
        refused, offered = isinstance(cause, UnsupportedSaslMechanismError), list[str]()
        asked: str = self._options.get("sasl_mechanism", "")
        if asked and (refused or isinstance(cause, KafkaConnectionError)):
            address = next(filter(lambda each: connection_failure(each) is None, self._addresses), self._addresses[0])
            offered = offered_mechanisms(address, asked, self._options.get("ssl_context"))
            refused = refused or (bool(offered) and asked not in offered)
        tls = None if isinstance(cause, _SASL_ERRORS) else self._tls_problem()
        if tls is not None:
            why = f"{tls}; check the security settings"
        elif refused:
            why = describe_mechanisms(offered, asked, get_args(Mechanism))
        elif isinstance(cause, IllegalSaslStateError):
            why = "has no SASL at this address; leave out the user, or name the address of its SASL listener"
        elif offered and isinstance(cause, KafkaConnectionError):
            why = f"hangs up at the login ({asked}); check user and password in the security settings"
        else:
            why = f"{reason_of(cause)}; check the address and the security settings"
        return BrokerUnavailableError(f"{self}: {why}")

    def __str__(self) -> str:
        return f"Kafka {self.bootstrap}"


class _ConnectionErrors(logging.Handler):
    """Keeps the error behind a failed connection; the client's constructor itself only raises a timeout."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.cause: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(self.cause, _SASL_ERRORS):
            return  # later errors are its consequence
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, Exception) and not isinstance(argument, KafkaTimeoutError | RequestTimedOutError):
                self.cause = argument


def _parse_addresses(bootstrap: str) -> list[tuple[str, int]]:
    addresses = []
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BrokerAddressError(f"Kafka bootstrap must be HOST:PORT[,HOST:PORT…], got {bootstrap!r}")
        addresses.append((host.strip("[]"), int(port)))  # [::1]:9092
    return addresses
