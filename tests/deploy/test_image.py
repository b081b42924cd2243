"""deploy/Dockerfile and .dockerignore, without Docker: what gets in, and who runs it."""

from __future__ import annotations

import re
import tomllib

from tests.deploy.compose_file import ROOT
from tests.deploy.dockerfile import read_dockerfile

DOCKERFILE = read_dockerfile()
ROOT_IDS = {"0", "root"}
NOT_INSTALLED = {"embedded", "build", "dev"}  # servers, and tools of ours


def test_the_base_image_is_an_argument_with_a_public_default() -> None:
    (argument,) = DOCKERFILE.all("ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.[0-9]+-slim", argument)
    bases = [rest.split()[0] for rest in DOCKERFILE.all("FROM")]
    assert set(bases) == {"${PYTHON_IMAGE}"}


def test_packages_come_by_hash_and_nothing_else_reaches_for_the_network() -> None:
    commands = [part.strip() for run in DOCKERFILE.all("RUN") for part in run.split("&&")]
    pip = [command for command in commands if command.startswith("pip ")]
    (download,) = [command for command in pip if " download " in f"{command} "]
    assert "--require-hashes" in download
    assert "--only-binary :all:" in download  # building an sdist would fetch what no hash names
    assert download.endswith("-r requirements.lock")
    assert all("--no-index" in command for command in pip if command != download)
    assert not [command for command in commands if re.match(r"(curl|wget|apt|git)\b", command)]


def test_every_command_that_is_documented_has_what_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (installed,) = re.findall(r"'customers-service\[([a-z,]+)\]'", " ".join(DOCKERFILE.all("RUN")))
    assert set(installed.split(",")) == extras.keys() - NOT_INSTALLED
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for extra in installed.split(","):
        for needed in extras[extra]:
            name = re.split(r"[<>=\[;]", needed)[0]
            assert re.search(rf"^{name}==", lock, re.MULTILINE), needed


def test_it_runs_as_a_fixed_user_who_is_not_root() -> None:
    user, _, group = DOCKERFILE.all("USER")[-1].partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert not {user, group} & ROOT_IDS
    words = [each.word for each in DOCKERFILE.instructions]
    assert "RUN" not in words[words.index("USER") :]


def test_it_is_the_command_line_of_every_role() -> None:
    assert DOCKERFILE.all("ENTRYPOINT") == ['["customers"]']


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copies = [copy.split()[:-1] for copy in DOCKERFILE.all("COPY") if "--from=" not in copy]
    assert {source for sources in copies for source in sources} == allowed
    assert "*" in lines
    assert all((ROOT / source).exists() for source in allowed)
