"""The script of the `credentials` service, run for real in folders of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.deploy.compose_file import read_compose_file

SERVICES = read_compose_file().services
ROLES = ("api", "relay", "projections", "intake")
TIMEOUT_SECONDS = 20


def draw(folder: Path) -> None:
    """Run it as the container would, for readers of this process's own group; what each role sees
    is in `roles` beside the folder."""
    (script,) = SERVICES["credentials"].command
    subprocess.run(
        ["sh", "-euc", script.replace("$$", "$")],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FOLDER": str(folder),
            "ROLES_FOLDER": str(folder.parent / "roles"),
            "READERS": str(os.getgid()),
        },
        timeout=TIMEOUT_SECONDS,
        check=True,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folders(tmp_path)


def made_folders(parent: Path) -> Path:
    """As the image has them."""
    made = parent / "credentials"
    made.mkdir(mode=0o700)
    for role in ROLES:
        (parent / "roles" / role).mkdir(mode=0o700, parents=True)
    return made


def entry(user: str, password: str) -> list[str]:
    """What the driver looks for in a password file, by the address of a service."""
    service = "migrate" if user == "customers" else user
    url = urlsplit(SERVICES[service].fixed_environment()["CUSTOMERS_DATABASE_URL"])
    assert url.username == user
    return [str(url.hostname), str(url.port or 5432), url.path[1:], user, password]


def test_each_reader_can_read_its_own_file_and_nobody_else_can(folder: Path) -> None:
    draw(folder)
    found = sorted(path.name for path in folder.iterdir())
    assert found == sorted(["password", "pgpass", *ROLES])
    assert mode(folder) == 0o750
    assert {mode(folder / name) for name in ("password", *ROLES)} == {0o640}
    assert mode(folder / "pgpass") == 0o600  # the driver ignores one that others may read


def test_a_role_sees_a_password_of_its_own_and_no_other(folder: Path) -> None:
    draw(folder)
    seen: set[str] = set()
    for role in ROLES:
        (file,) = (folder.parent / "roles" / role).iterdir()
        assert (file.name, mode(file)) == ("pgpass", 0o600)
        password = (folder / role).read_text().strip()
        assert file.read_text().strip().split(":") == entry(role, password)
        seen.add(password)
    assert len({*seen, (folder / "password").read_text().strip()}) == len(ROLES) + 1


def test_the_owner_logs_in_with_the_password_that_the_server_was_given(folder: Path) -> None:
    draw(folder)
    password = (folder / "password").read_text().strip()
    assert (folder / "pgpass").read_text().strip().split(":") == entry("customers", password)
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
