"""The script of the `credentials` service, run for real in a folder of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deploy.compose_file import read_compose_file

SERVICES = read_compose_file().services
TIMEOUT_SECONDS = 20


def draw(folder: Path) -> None:
    """Run it as the container would, for readers of this process's own group."""
    (script,) = SERVICES["credentials"].command
    subprocess.run(
        ["sh", "-euc", script.replace("$$", "$")],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FOLDER": str(folder),
            "READERS": str(os.getgid()),
        },
        timeout=TIMEOUT_SECONDS,
        check=True,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "credentials"
    made.mkdir(mode=0o700)
    return made


def test_each_reader_can_read_its_own_file_and_nobody_else_can(folder: Path) -> None:
    draw(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["password", "pgpass"]
    assert mode(folder) == 0o750
    assert mode(folder / "password") == 0o640
    assert mode(folder / "pgpass") == 0o600  # the driver ignores one that others may read


def test_the_service_logs_in_with_the_password_that_the_server_was_given(folder: Path) -> None:
    draw(folder)
    password = (folder / "password").read_text().strip()
    url = urlsplit(SERVICES["api"].fixed_environment()["CUSTOMERS_DATABASE_URL"])
    entry = [url.hostname, str(url.port or 5432), url.path[1:], url.username, password]
    assert (folder / "pgpass").read_text().strip().split(":") == entry
    assert len(password) >= 32


def test_a_password_is_drawn_once_even_where_the_first_try_was_cut_short(folder: Path) -> None:
    (folder / "new").write_text("half of a pass")
    draw(folder)
    assert mode(folder / "password") == 0o640
    drawn = (folder / "password").read_text()
    assert "half" not in drawn
    (folder / "pgpass").unlink()
    draw(folder)
    assert (folder / "password").read_text() == drawn
    assert drawn.strip() in (folder / "pgpass").read_text()
