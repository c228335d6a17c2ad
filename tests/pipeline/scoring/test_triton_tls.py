"""TLS to a real Triton, also with certificates of clients, and servers that are not trusted."""

from __future__ import annotations

import importlib.util
import pickle
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from certificates import Authority, Certificate, self_signed
from pydantic import ValidationError
from tls_front import TlsFront
from triton_of_brightness import Server

from deploy.triton.server import GrpcTls
from pipeline.scoring.embedding import EmbeddingClient
from pipeline.scoring.served_model import ScorerUnavailable, Trouble, diagnose, served_model
from pipeline.scoring.target import Target
from pipeline.scoring.tls_address import TlsAddress, TritonTls
from pipeline.scoring.transport import TritonTransport
from pipeline.settings import SettingsError, TritonSettings, load_site
from pipeline.tls import TlsFileError

PATIENCE = 90.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def mutual(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[Server]:
    """A Triton that asks for a certificate; its own is for 127.0.0.1 and for ``triton.example``."""
    if importlib.util.find_spec("pytriton") is None:
        require("tritonserver (make venv installs the wheel nvidia-pytriton)")
    own = authority.sign("triton", "IP:127.0.0.1", "DNS:triton.example")
    server = Server(tmp_path_factory.mktemp("triton"), grpc_tls=GrpcTls(own.certificate, own.key, clients=authority.ca))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def worker(authority: Authority) -> Certificate:
    return authority.sign("worker")


def trust(authority: Authority, own: Certificate | None = None, name: str | None = None) -> TritonTls:
    return TritonTls(authority.ca, own.certificate if own else None, own.key if own else None, name)


def refused(address: str, tls: TritonTls | None) -> str:
    """Return the one line that explains why no description came."""
    with pytest.raises(ScorerUnavailable) as caught:
        served_model(address if tls is None else TlsAddress(address, tls))
    assert caught.value.trouble is Trouble.UNREACHABLE
    line = str(caught.value)
    assert "\n" not in line
    assert address in line
    return line


@pytest.mark.realparts
class TestTriton:
    def test_every_client_connects_with_its_certificate(
        self, mutual: Server, authority: Authority, worker: Certificate
    ) -> None:
        address = TlsAddress(mutual.address, trust(authority, worker))
        assert served_model(address).name == "mean"
        transport = TritonTransport(address, shared_clips=2)
        try:
            transport.is_live(timeout_seconds=PATIENCE)
            assert transport.describe(Target("clip_scorer"), timeout_seconds=PATIENCE).name == "mean"
            transport.load("clip_scorer")
        finally:
            transport.close()

    def test_a_name_that_the_certificate_holds(self, mutual: Server, authority: Authority, worker: Certificate) -> None:
        assert served_model(TlsAddress(mutual.address, trust(authority, worker, "triton.example"))).name == "mean"
        line = refused(mutual.address, trust(authority, worker, "elsewhere.example"))
        assert "is not for elsewhere.example: it is for" in line
        assert "triton.example" in line

    def test_without_a_certificate_of_its_own_a_client_is_refused(self, mutual: Server, authority: Authority) -> None:
        assert "client's certificate" in refused(mutual.address, trust(authority))

    def test_a_client_without_tls_is_refused(self, mutual: Server) -> None:
        assert "it expects TLS there; set triton.tls" in refused(mutual.address, None)

    def test_an_unknown_authority_is_refused(self, mutual: Server, worker: Certificate, tmp_path: Path) -> None:
        tls = trust(Authority(tmp_path / "other", "another"), worker)
        assert "signed by an unknown authority; set triton.tls.ca" in refused(mutual.address, tls)

    def test_the_client_of_side_models_connects_too(
        self, mutual: Server, authority: Authority, worker: Certificate
    ) -> None:
        client = EmbeddingClient(TlsAddress(mutual.address, trust(authority, worker)), "no_such_model", lambda _: None)
        try:
            with pytest.raises(ScorerUnavailable, match="no_such_model") as caught:
                client.describe()
            assert caught.value.trouble is Trouble.NOT_READY
        finally:
            client.close()


class TestServersThatAreNotTrusted:
    """In front of nothing: the handshake decides."""

    @pytest.mark.parametrize(
        ("names", "days", "words"),
        [
            (("IP:127.0.0.1",), -1, "its certificate has expired"),
            (("DNS:triton.example",), 2, "is not for 127.0.0.1: it is for triton.example"),
        ],
    )
    def test_signed_by_the_authority(self, authority: Authority, names: tuple[str, ...], days: int, words: str) -> None:
        made = authority.sign(f"bad{days}", *names, days=days)
        with TlsFront(with_http2(made), 9) as front:
            assert words in refused(f"127.0.0.1:{front.port}", trust(authority))

    def test_signed_by_itself(self, authority: Authority, tmp_path: Path) -> None:
        with TlsFront(with_http2(self_signed(tmp_path, "own", "IP:127.0.0.1")), 9) as front:
            assert "signed by itself" in refused(f"127.0.0.1:{front.port}", trust(authority))

    @pytest.mark.realparts
    def test_a_server_without_tls(self, server: Server, authority: Authority) -> None:
        assert "it answers without TLS" in refused(server.address, trust(authority))


class TestAFileThatIsGone:
    """The files were there at the start; a failed call must not become an exception of another kind."""

    def test_a_failure_is_diagnosed_without_it(self, authority: Authority) -> None:
        with TlsFront(with_http2(authority.sign("good", "IP:127.0.0.1")), 9) as front:
            address = TlsAddress(f"127.0.0.1:{front.port}", TritonTls(Path("/none/ca.pem")))
            trouble, line = diagnose(ConnectionError("Socket closed"), address, "clip_scorer")
        assert trouble is Trouble.UNREACHABLE
        assert line.startswith(f"Triton at {address} cannot be reached")

    def test_a_new_connection_is_refused_as_if_the_server_were_away(self) -> None:
        line = refused("127.0.0.1:9", TritonTls(Path("/none/ca.pem")))
        assert "Triton TLS authority /none/ca.pem: No such file" in line


def test_many_failures_make_one_handshake(authority: Authority) -> None:
    with TlsFront(with_http2(authority.sign("good2", "DNS:elsewhere.example")), 9) as front:
        address = TlsAddress(f"127.0.0.1:{front.port}", TritonTls(authority.ca))
        lines = [diagnose(ConnectionError("Socket closed"), address, "clip_scorer")[1] for _ in range(2)]
        made = front.connections
        lines += [diagnose(ConnectionError("Socket closed"), address, "clip_scorer")[1] for _ in range(50)]
        assert front.connections == made
    (line,) = set(lines)
    assert "it is for elsewhere.example" in line


def with_http2(certificate: Certificate) -> ssl.SSLContext:
    context = certificate.server_context()
    context.set_alpn_protocols(["h2"])
    return context


class TestSettings:
    def test_files_are_relative_to_the_site_and_checked(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_bytes(authority.ca.read_bytes())
        site = tmp_path / "site.yaml"
        site.write_text("triton: {tls: {ca: ca.pem}}\ncameras: {gate: {source: 'synthetic://courtyard'}}\n")
        endpoint = load_site(site).triton.endpoint
        assert isinstance(endpoint, TlsAddress)
        assert endpoint.tls.ca == tmp_path / "ca.pem"
        (tmp_path / "ca.pem").write_text("garbage")
        with pytest.raises(SettingsError, match=r"triton.tls: Triton TLS authority .*/ca.pem: does not hold a cert"):
            load_site(site)

    def test_a_certificate_needs_its_key(self) -> None:
        with pytest.raises(ValidationError, match="certificate needs key"):
            TritonSettings(tls={"certificate": "one.pem"})  # type: ignore[arg-type]

    def test_without_tls_the_address_is_plain(self) -> None:
        assert not isinstance(TritonSettings().endpoint, TlsAddress)

    def test_an_address_goes_to_another_process(self, authority: Authority) -> None:
        address = TlsAddress("h:1", trust(authority))
        again = pickle.loads(pickle.dumps(address))
        assert again == "h:1"
        assert again.tls == address.tls

    def test_a_missing_file_is_named(self) -> None:
        with pytest.raises(TlsFileError, match=r"Triton TLS authority /none/ca.pem: No such file"):
            TritonTls(Path("/none/ca.pem")).check()
