"""The script of the `users` service, run for real against a server of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import RightMissing
from service.migrations import migrate
from service.postgres import Postgres
from tests.deploy.test_credentials import ROLES, SERVICES, TIMEOUT_SECONDS, draw, made_folders
from tests.servers.databases import with_database
from tests.servers.tls_postgres import TlsPostgres, system_programs
from tests.support.certificates import Authority


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TlsPostgres]:
    programs = system_programs()
    if programs is None or shutil.which("psql") is None:
        pytest.skip("needs an installed PostgreSQL and its psql")
    authority = Authority.made(tmp_path / "authority")
    shown = authority.sign("postgres", "localhost")
    started = TlsPostgres(programs, shown.certificate, shown.key, authority.certificate)
    try:
        await started.start()
        yield started
    finally:
        await started.stop()


def make_users(folder: Path, server: TlsPostgres) -> str:
    """Run it as the container would; what it said."""
    service = SERVICES["users"]
    (script,) = service.command
    place = {"PGHOST": "localhost", "PGPORT": str(server.port), "PGSSLMODE": "require"}
    environment = {**service.fixed_environment(), "FOLDER": str(folder), **place}
    ended = subprocess.run(
        ["bash", "-euc", script.replace("$$", "$")],
        env={"PATH": os.environ["PATH"], **environment},
        timeout=TIMEOUT_SECONDS,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return ended.stdout


async def test_each_role_gets_a_user_with_its_password_and_its_rights(
    server: TlsPostgres, tmp_path: Path
) -> None:
    folder = made_folders(tmp_path)
    draw(folder)

    def url(user: str, password_file: str) -> str:
        password = (folder / password_file).read_text().strip()
        return with_database(server.url(user, password), "customers") + "?sslmode=require"

    owner = (folder / "password").read_text().strip()
    await server.execute(f"CREATE ROLE customers SUPERUSER LOGIN PASSWORD '{owner}'")
    await server.execute("CREATE DATABASE customers OWNER customers")
    await migrate(url("customers", "password"))
    assert make_users(folder, server) == ""
    assert make_users(folder, server) == ""
    for role in ROLES:
        async with Postgres.connect(url(role, role), pool_size_max=1) as postgres:
            belongs = "SELECT pg_has_role(current_user, $1, 'USAGE')"
            for other in ROLES:
                found = await postgres.fetch_one(bool, belongs, f"customers_{other}")
                assert found is (other == role)
            assert await postgres.fetch(int, "SELECT position FROM log.head") == [0]
            with pytest.raises(RightMissing):
                await postgres.execute("DELETE FROM log.event")
