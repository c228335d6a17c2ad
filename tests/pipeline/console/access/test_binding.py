"""Addresses at which a console may listen, and one line for each at which it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from certificates import Authority
from guarded_console import write_users

from pipeline.access_settings import AccessSettings, OidcSettings, Role
from pipeline.console.access import check_binding
from pipeline.errors import UsageError

LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"]
OTHER = ["0.0.0.0", "::", "", "169.254.1.1", "fe80::1", "192.168.1.2", "box.example", "::ffff:0.0.0.0", "127.1"]


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.yaml", anna=("admin", "correct horse battery"))


def problem(host: str, settings: AccessSettings) -> str:
    with pytest.raises(UsageError) as caught:
        check_binding(host, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_no_login(host: str) -> None:
    check_binding(host, AccessSettings())


@pytest.mark.parametrize("host", OTHER)
def test_another_address_needs_a_login_and_tls(host: str, users_file: Path) -> None:
    assert "no login is configured" in problem(host, AccessSettings(tls_proxy=True))
    assert "no TLS is configured" in problem(host, AccessSettings(users_file=users_file))
    check_binding(host, AccessSettings(users_file=users_file, tls_proxy=True))


def test_single_sign_on_is_a_login() -> None:
    oidc = OidcSettings.model_validate(
        {"issuer": "https://id.example", "client_id": "c", "client_secret": "s", "roles": {"staff": "viewer"}}
    )
    check_binding("0.0.0.0", AccessSettings(oidc=oidc, tls_proxy=True))


def test_a_file_that_cannot_be_used_is_refused_on_loopback_too(users_file: Path, tmp_path: Path) -> None:
    settings = AccessSettings(users_file=users_file)
    users_file.write_text("users: {}")
    assert "has no users" in problem("127.0.0.1", settings)
    users_file.write_text("users: {anna: {role: root, hash: $argon2id$v=19$m=8,t=1,p=1$c2VjcmV0$c2VjcmV0}}")
    assert "c2VjcmV0" not in problem("127.0.0.1", settings)
    users_file.chmod(0o666)
    assert "chmod 600" in problem("127.0.0.1", settings)
    users_file.unlink()
    assert "No such file" in problem("127.0.0.1", settings)
    assert "No such file" in problem("127.0.0.1", AccessSettings(certificate=tmp_path / "c", key=tmp_path / "k"))


def test_hashes_of_ruinous_cost_or_of_another_kind_are_refused(users_file: Path) -> None:
    for hashed in ("$argon2id$v=19$m=99999999,t=1,p=1$c2VjcmV0$c2VjcmV0", "$2b$12$secret", "plain text"):
        users_file.write_text(f"users: {{anna: {{role: admin, hash: '{hashed}'}}}}")
        text = problem("127.0.0.1", AccessSettings(users_file=users_file))
        assert "must be an argon2id hash" in text
        assert hashed not in text


def test_a_key_of_another_certificate_is_one_line(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.sign("one"), authority.sign("other")
    text = problem("127.0.0.1", AccessSettings(certificate=one.certificate, key=other.key))
    assert "the key belongs to another certificate" in text


def test_each_role_includes_those_before_it() -> None:
    table = [[have.includes(least) for least in Role] for have in Role]
    assert table == [[True, False, False], [True, True, False], [True, True, True]]


def test_relative_files_lie_beside_the_sites_file(tmp_path: Path) -> None:
    settings = AccessSettings(users_file=Path("users.yaml"), certificate=Path("c.pem"), key=tmp_path / "k.pem")
    placed = settings.beside(Path("/site"))
    assert [os.fspath(path) for path in (placed.users_file, placed.certificate, placed.key) if path] == [
        "/site/users.yaml",
        "/site/c.pem",
        str(tmp_path / "k.pem"),
    ]
