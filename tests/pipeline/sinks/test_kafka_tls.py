"""TLS and SASL at Apache Kafka: every mechanism, certificates of clients, and certificates that are not trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import ApacheKafka, end
from certificates import Authority
from ports import free_port
from pydantic import SecretStr, ValidationError

from pipeline.alerts.outbox import Outbox
from pipeline.sinks.kafka import KafkaSink
from pipeline.sinks.kafka_broker import BrokerUnavailableError
from pipeline.sinks.kafka_security import KafkaSecurity, KafkaSecurityError

USER, SECRET, KEY_SECRET = "alerts", "s3cret-w0rd", "k3y-w0rd"


class Secured:
    """One Apache Kafka with a listener a kind of security; its inter-broker listener is in clear.

    Attributes:
        authority: signed the certificates of the broker, and those of clients that it takes.
        ports: by the name of the listener.
    """

    def __init__(self, folder: Path, jars: Path) -> None:
        self.authority = Authority(folder / "authority")
        stranger = Authority(folder / "stranger", "stranger")
        signed = {
            "USERS": self.authority.sign("broker", "IP:127.0.0.1"),
            "MUTUAL": self.authority.sign("broker-mutual", "IP:127.0.0.1"),
            "EXPIRED": self.authority.sign("expired", "IP:127.0.0.1", days=-1),
            "OTHER": self.authority.sign("other", "DNS:kafka.example"),
            "FOREIGN": stranger.sign("foreign", "IP:127.0.0.1"),
        }
        self.ports = {name: free_port() for name in signed}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        kinds = ",".join(f"{name}:{'SASL_SSL' if name == 'USERS' else 'SSL'}" for name in signed)
        modules = "org.apache.kafka.common.security"
        further = {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": kinds,
            "listener.name.users.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.users.plain.sasl.jaas.config": (
                f'{modules}.plain.PlainLoginModule required user_{USER}="{SECRET}";'
            ),
            "listener.name.mutual.ssl.client.auth": "required",
        }
        for kind in ("256", "512"):
            further[f"listener.name.users.scram-sha-{kind}.sasl.jaas.config"] = (
                f"{modules}.scram.ScramLoginModule required;"
            )
        for name, certificate in signed.items():
            prefix = f"listener.name.{name.lower()}.ssl"
            further[f"{prefix}.keystore.type"] = further[f"{prefix}.truststore.type"] = "PEM"
            further[f"{prefix}.keystore.location"] = str(certificate.in_one_file())
            further[f"{prefix}.truststore.location"] = str(self.authority.ca)
        storage = [
            argument
            for kind in ("256", "512")
            for argument in ("--add-scram", f"SCRAM-SHA-{kind}=[name={USER},password={SECRET}]")
        ]
        self.broker = ApacheKafka(folder / "broker", jars, further=further, storage=storage)

    def address(self, listener: str) -> str:
        return f"127.0.0.1:{self.ports[listener]}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[Secured]:
    made = Secured(tmp_path_factory.mktemp("secured"), kafka_jars)
    yield made
    end(made.broker)


def refused(bootstrap: str, security: KafkaSecurity) -> str:
    """Return the one line that explains why the broker cannot be used."""
    with pytest.raises(BrokerUnavailableError) as caught, KafkaSink(bootstrap, security=security).connect():
        pass
    line = str(caught.value)
    assert line.startswith(f"Kafka {bootstrap}: ")
    assert "\n" not in line
    for secret in (SECRET, KEY_SECRET):
        assert secret not in line
    return line


@pytest.mark.realparts
class TestTrust:
    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    def test_every_mechanism(self, secured: Secured, mechanism: Any, accept: Any) -> None:
        security = KafkaSecurity(
            user=USER, password=SecretStr(SECRET), mechanism=mechanism, tls_ca=secured.authority.ca
        )
        assert accept(secured.address("USERS"), security)

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    def test_a_wrong_password(self, secured: Secured, mechanism: Any) -> None:
        security = KafkaSecurity(
            user=USER, password=SecretStr("another"), mechanism=mechanism, tls_ca=secured.authority.ca
        )
        line = refused(secured.address("USERS"), security)
        # Which of them comes depends on whether the broker's answer arrives before it closes the connection.
        assert any(words in line for words in ("uthentication failed", "invalid credentials", "hangs up at the login"))

    @pytest.mark.parametrize("passphrase", [None, KEY_SECRET])
    def test_a_client_shows_its_certificate(
        self, secured: Secured, passphrase: str | None, accept: Any, tmp_path: Path
    ) -> None:
        own = secured.authority.sign("worker" if passphrase is None else "worker-encrypted", passphrase=passphrase)
        (tmp_path / "word").write_text(f"{passphrase}\n")
        security = KafkaSecurity(
            tls_ca=secured.authority.ca,
            tls_certificate=own.certificate,
            tls_key=own.key,
            tls_key_password_file=None if passphrase is None else tmp_path / "word",
        )
        assert accept(secured.address("MUTUAL"), security)

    def test_a_client_without_one_is_refused(self, secured: Secured) -> None:
        line = refused(secured.address("MUTUAL"), KafkaSecurity(tls_ca=secured.authority.ca))
        assert "client's certificate" in line

    def test_a_client_with_one_of_another_authority_is_refused(self, secured: Secured, tmp_path: Path) -> None:
        own = Authority(tmp_path / "other", "another").sign("worker")
        security = KafkaSecurity(tls_ca=secured.authority.ca, tls_certificate=own.certificate, tls_key=own.key)
        assert "client's certificate" in refused(secured.address("MUTUAL"), security)

    @pytest.mark.parametrize(
        ("listener", "words"),
        [
            ("EXPIRED", "its certificate has expired; renew it there"),
            ("OTHER", "its certificate is not for 127.0.0.1: it is for kafka.example; correct the address"),
            ("FOREIGN", "signed by an unknown authority; set kafka.security.tls_ca to its authority"),
        ],
    )
    def test_a_broker_that_is_not_trusted(self, secured: Secured, listener: str, words: str) -> None:
        assert words in refused(secured.address(listener), KafkaSecurity(tls_ca=secured.authority.ca))

    def test_a_client_without_tls_at_a_port_with_it(self, secured: Secured) -> None:
        assert "expects TLS at this address; set kafka.security.tls" in refused(
            secured.address("MUTUAL"), KafkaSecurity()
        )

    def test_a_client_with_tls_at_a_port_without_it(self, secured: Secured) -> None:
        line = refused(secured.broker.bootstrap, KafkaSecurity(tls_ca=secured.authority.ca))
        assert "TLS" in line
        assert "security settings" in line


@pytest.fixture
def accept(outbox: Outbox, make_event: Any, listener: Any, until: Any) -> Any:
    """accept(bootstrap, security): an accepted event reaches the topic through the relay."""
    from pipeline.sinks.relay import Relay

    def run(bootstrap: str, security: KafkaSecurity) -> bool:
        outbox.accept(make_event("gate", 0))
        with Relay(KafkaSink(bootstrap, security=security), outbox.deliveries("kafka"), listener=listener):
            until(lambda: outbox.depth() == 0, f"published; {listener.calls}", timeout=120)
        return len(listener.texts("published")) == 1

    return run


class TestFiles:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path / "authority")

    def refused(self, **settings: Any) -> str:
        with pytest.raises(KafkaSecurityError) as caught:
            KafkaSecurity(**settings).client_options()
        line = str(caught.value)
        assert "\n" not in line
        assert KEY_SECRET not in line
        return line

    def test_an_authority_that_cannot_be_used(self, tmp_path: Path) -> None:
        missing, empty, other = tmp_path / "none.pem", tmp_path / "empty.pem", tmp_path / "other.pem"
        empty.touch()
        other.write_text("no certificate")
        assert self.refused(tls_ca=missing) == f"Kafka TLS authority {missing}: No such file or directory"
        for file in (empty, other):
            assert self.refused(tls_ca=file) == (
                f"Kafka TLS authority {file}: does not hold a certificate; expected PEM"
            )

    def test_a_certificate_that_cannot_be_used(self, authority: Authority, tmp_path: Path) -> None:
        own, other = authority.sign("one"), authority.sign("two")
        garbage, missing = tmp_path / "garbage.pem", tmp_path / "none.pem"
        garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        assert self.refused(tls_certificate=missing) == f"Kafka TLS certificate {missing}: No such file or directory"
        assert f"Kafka TLS key {missing}: No such file" in self.refused(
            tls_certificate=own.certificate, tls_key=missing
        )
        assert "expected a PEM file with a certificate and its key" in self.refused(tls_certificate=garbage)
        assert "the key belongs to another certificate" in self.refused(
            tls_certificate=own.certificate, tls_key=other.key
        )

    def test_an_encrypted_key(self, authority: Authority, tmp_path: Path) -> None:
        own = authority.sign("encrypted", passphrase=KEY_SECRET)
        files = {"tls_certificate": own.certificate, "tls_key": own.key}
        assert "the key is encrypted; give its password" in self.refused(**files)
        assert "its password is wrong" in self.refused(**files, tls_key_password=SecretStr("another"))
        none = tmp_path / "none"
        assert self.refused(**files, tls_key_password_file=none) == (
            f"Kafka TLS key password file {none}: No such file or directory"
        )
        KafkaSecurity(**files, tls_key_password=SecretStr(KEY_SECRET)).client_options()

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"tls_key": "key.pem"}, "need tls_certificate"),
            ({"tls_certificate": "c", "tls_key_password": "a", "tls_key_password_file": "b"}, "not both"),
        ],
    )
    def test_settings_that_contradict_themselves(self, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            KafkaSecurity(**settings)
