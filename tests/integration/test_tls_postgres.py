"""TLS to PostgreSQL by the settings alone, on a server that lets nobody in without.

Invariant: what is refused is refused for the reason named, with one sentence that says so.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from service.errors import ConfigurationError, CustomersError, RightMissing, Unavailable
from service.postgres import Postgres
from service.settings import read_settings
from tests.end_to_end.command import run
from tests.servers.tls_postgres import TlsPostgres, system_programs
from tests.support.certificates import Authority

PASSWORD = secrets.token_hex(16)
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("tls") / "others")


@pytest.fixture(scope="module")
async def server(authority: Authority) -> AsyncIterator[TlsPostgres]:
    """Its certificate is for `localhost`, and not for 127.0.0.1."""
    programs = system_programs()
    if programs is None:
        pytest.skip("needs an installed PostgreSQL: the embedded one has no TLS")
    shown = authority.sign("server", "localhost")
    started = TlsPostgres(programs, shown.certificate, shown.key, authority.certificate)
    try:
        await started.start()
        await started.execute(
            f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_stats;"
            "CREATE ROLE certified LOGIN IN ROLE pg_read_all_stats;"
            f"CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}';"
            "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;"
            "GRANT CONNECT ON DATABASE postgres TO app, certified"
        )
        yield started
    finally:
        await started.stop()


def dsn(monkeypatch: pytest.MonkeyPatch, url: str, ca_file: Path | None = None) -> str:
    """What the settings make of it."""
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", url)
    if ca_file is not None:
        monkeypatch.setenv("CUSTOMERS_DATABASE_TLS_CA_FILE", str(ca_file))
    return read_settings(Path("there-is-no-such-file")).require_database_dsn()


async def is_encrypted(dsn: str) -> bool | None:
    async with Postgres.connect(dsn, pool_size_max=1) as postgres:
        return await postgres.fetch_one(bool, IS_ENCRYPTED)


async def refusal(dsn: str) -> CustomersError:
    with pytest.raises(CustomersError) as raised:
        await is_encrypted(dsn)
    assert PASSWORD not in str(raised.value)
    return raised.value


async def test_the_ca_that_is_named_is_trusted(
    server: TlsPostgres, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("app", PASSWORD)
    assert await is_encrypted(dsn(monkeypatch, url, authority.certificate))
    ca = quote(str(authority.certificate))
    assert await is_encrypted(dsn(monkeypatch, f"{url}?sslmode=verify-full&sslrootcert={ca}"))


async def test_a_link_may_be_encrypted_without_asking_who_is_there(
    server: TlsPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("app", PASSWORD, host="127.0.0.1")
    assert await is_encrypted(dsn(monkeypatch, f"{url}?sslmode=require"))


async def test_another_ca_is_refused(
    server: TlsPostgres, others: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await refusal(dsn(monkeypatch, server.url("app", PASSWORD), others.certificate))
    assert isinstance(error, Unavailable)
    assert error.detail.endswith("of a CA that is not trusted here.")


async def test_another_host_is_refused(
    server: TlsPostgres, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("app", PASSWORD, host="127.0.0.1")
    error = await refusal(dsn(monkeypatch, url, authority.certificate))
    assert isinstance(error, Unavailable)
    assert "a certificate for another host" in error.detail


async def test_a_wrong_password_is_refused_over_tls(
    server: TlsPostgres, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await refusal(dsn(monkeypatch, server.url("app", "wrong"), authority.certificate))
    assert isinstance(error, Unavailable)
    assert "does not let us in" in error.detail


async def test_without_tls_nobody_is_let_in(
    server: TlsPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("app", PASSWORD)
    error = await refusal(dsn(monkeypatch, f"{url}?sslmode=disable"))
    assert isinstance(error, Unavailable)
    assert "does not let us in" in error.detail


async def test_a_client_certificate_is_shown(
    server: TlsPostgres, authority: Authority, others: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("certified")
    ours, theirs = authority.sign("certified"), others.sign("certified")
    ours_shown = f"{url}?sslcert={ours.certificate}&sslkey={ours.key}"
    assert await is_encrypted(dsn(monkeypatch, ours_shown, authority.certificate))
    without = await refusal(dsn(monkeypatch, url, authority.certificate))
    assert "does not let us in" in str(without)
    theirs_shown = f"{url}?sslcert={theirs.certificate}&sslkey={theirs.key}"
    refused = await refusal(dsn(monkeypatch, theirs_shown, authority.certificate))
    assert "refuses our certificate" in str(refused)


async def test_a_file_that_holds_no_certificate_is_said_at_once(
    server: TlsPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    error = await refusal(dsn(monkeypatch, server.url("app", PASSWORD), empty))
    assert isinstance(error, ConfigurationError)


async def test_a_database_that_the_user_may_not_enter_is_a_right_that_is_missing(
    server: TlsPostgres, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await refusal(dsn(monkeypatch, server.url("outsider", PASSWORD), authority.certificate))
    assert isinstance(error, RightMissing)
    assert "permission denied for database" in str(error)


async def test_a_server_without_tls_is_no_substitute(
    server: TlsPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.switch_tls("off")
    try:
        error = await refusal(dsn(monkeypatch, server.url("app", PASSWORD) + "?sslmode=require"))
    finally:
        await server.switch_tls("on")
    assert isinstance(error, Unavailable)
    assert "offers no TLS" in error.detail


async def test_an_operator_reads_the_sentence(
    server: TlsPostgres, others: Authority, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": server.url("app", PASSWORD),
        "DATABASE_TLS_CA_FILE": str(others.certificate),
    }
    done = run(tmp_path, "migrate", **settings)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.endswith("of a CA that is not trusted here.\n")
