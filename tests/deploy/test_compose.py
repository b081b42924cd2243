"""docker-compose.yml, without Docker: what it promises about health, reach, rights and settings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from service.cli.api import API_PORT
from service.cli.export import WORKERS_DEFAULT_MAX
from service.cli.intake import INTAKE_PORT
from service.cli.projections import PROJECTIONS_PORT
from service.cli.relay import RELAY_PORT
from service.customer import TAGS_MAX
from service.event_log import TENANT_PAGE_BYTES_MAX
from service.folding import RUNS_REMEMBERED_MAX, TENANTS_REMEMBERED_MAX
from service.http.bodies import BODY_BYTES_MAX
from service.http.feed import PAGES_AT_ONCE_MAX, STREAMS_MAX
from service.http.fields import TAG_CHARACTERS_MAX
from service.http.large_answers import HELD_BYTES_MAX, LARGE_BYTES
from service.http.server import CONNECTIONS_MAX
from service.http.slots import IN_FLIGHT_MAX
from service.list_request import DISPLAY_MAX
from service.postgres import POOL_SIZE_MAX
from service.queries import lists_at_once_max
from service.queries.feed import PAGE_BYTES_MAX
from service.settings import PREFIX, field_names, read_settings, setting_name
from service.state_cache import CACHED_BYTES_MAX
from service.vault.vault import KEYS_REMEMBERED_MAX
from tests.deploy.compose_file import ROOT, WHEN_DONE, ComposeFile, Service, read_compose_file
from tests.deploy.dockerfile import read_dockerfile
from tests.system import test_large_lists

PORTS = {
    "api": API_PORT,
    "relay": RELAY_PORT,
    "projections": PROJECTIONS_PORT,
    "intake": INTAKE_PORT,
}
SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "KEY")
# What the images declare as volumes: PostgreSQL's 18 the first, older ones the second folder.
POSTGRES_FOLDERS = {"/var/lib/postgresql", "/var/lib/postgresql/data"}
KAFKA_FOLDERS = {"/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"}
MIB = 1024 * 1024
UNITS = {"k": 1024, "m": MIB, "g": 1024 * MIB}
LARGEST_LIST_BYTES = DISPLAY_MAX * TAGS_MAX * TAG_CHARACTERS_MAX * 4  # UTF-8 of the rarest
# What one process of the API takes where it is at all of its limits: what is bounded, times what
# docs/operations.md says that one of it takes. The sum is in its section "Limits", in words.
API_BYTES = {
    "the process": 100 * MIB,  # 88 when it has started
    "answers held": HELD_BYTES_MAX,
    "lists being made": lists_at_once_max(POOL_SIZE_MAX) * 3 * LARGEST_LIST_BYTES,
    "requests at work": IN_FLIGHT_MAX * 4 * BODY_BYTES_MAX,
    "smaller answers": CONNECTIONS_MAX * LARGE_BYTES,
    "pages of the feed": PAGES_AT_ONCE_MAX * PAGE_BYTES_MAX,
    "streams of the feed": STREAMS_MAX * 2 * TENANT_PAGE_BYTES_MAX,
    "states": CACHED_BYTES_MAX,
    "keys": KEYS_REMEMBERED_MAX * 1_000,
    "runs of characters": TENANTS_REMEMBERED_MAX * RUNS_REMEMBERED_MAX * 200,
    "temporary files": 16 * MIB,
}
COMPOSE = read_compose_file()
SERVICES = pytest.mark.parametrize("name", COMPOSE.services)


@pytest.fixture
def compose() -> ComposeFile:
    return COMPOSE


def mounts(service: Service) -> dict[str, str]:
    """What is mounted read-write and read-only: volume to `rw` or `ro`."""
    parts = [volume.split(":") for volume in service.volumes]
    return {part[0]: part[2] if len(part) > 2 else "rw" for part in parts}


@SERVICES
def test_a_service_is_watched_and_started_again_or_ends_by_itself(
    compose: ComposeFile, name: str
) -> None:
    service = compose.services[name]
    if name in compose.one_shots():
        assert service.healthcheck is None
        assert service.restart != "unless-stopped"
    else:
        assert service.healthcheck is not None
        assert service.restart == "unless-stopped"


@SERVICES
def test_a_service_has_no_right_it_does_not_need(compose: ComposeFile, name: str) -> None:
    service = compose.services[name]
    assert service.read_only
    assert service.cap_drop == ["ALL"]
    assert service.cap_add == []
    assert not service.privileged
    assert "no-new-privileges:true" in service.security_opt
    assert service.mem_limit is not None


def bytes_of(limit: str) -> int:
    """`1536m` and `1g` of Compose, where another may be named in its place; `1536Mi`, `1Gi` of
    Kubernetes."""
    found = re.fullmatch(r"(?:\$\{[A-Z_]+:-)?(\d+)([kmg])i?\}?", limit, re.IGNORECASE)
    assert found is not None, limit
    return int(found[1]) * UNITS[found[2].lower()]


def operations() -> str:
    """docs/operations.md, in one line."""
    return " ".join((ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split())


def test_the_api_may_take_the_memory_that_all_its_limits_add_up_to(compose: ComposeFile) -> None:
    limit = compose.services["api"].mem_limit
    assert limit is not None
    assert sum(API_BYTES.values()) <= bytes_of(limit)


def test_the_memory_of_the_api_is_documented_as_it_adds_up() -> None:
    told = f"takes about {round(sum(API_BYTES.values()) / MIB, -1):,.0f} MiB"
    assert told in operations()


def test_lists_are_counted_as_they_were_found_to_take() -> None:
    counted = API_BYTES["answers held"] + API_BYTES["lists being made"]
    assert counted == test_large_lists.MEMORY_BYTES_MAX


def test_tools_have_the_memory_that_is_documented(compose: ComposeFile) -> None:
    limit = compose.services["migrate"].mem_limit
    assert limit is not None
    export = re.search(r"A process takes about (\d+) MB, (\d+) MB for Parquet", operations())
    archiving = re.search(r"archiving took .{,60} the process (\d+) MB", operations())
    assert export is not None
    assert archiving is not None
    processes = WORKERS_DEFAULT_MAX * max(map(int, export.groups()))
    needed = max(processes, int(archiving[1])) * 1_000_000 + API_BYTES["the process"]
    assert needed <= bytes_of(limit)


@SERVICES
def test_only_the_api_is_reached_from_outside_and_only_from_this_machine(
    compose: ComposeFile, name: str
) -> None:
    service = compose.services[name]
    if name == "api":
        assert [port.rpartition(":")[2] for port in service.ports] == [str(API_PORT)]
        assert all(port.startswith("127.0.0.1:") for port in service.ports)
        return
    assert service.ports == []
    assert service.network_mode in {None, "none"}
    for network in service.networks:
        found = compose.networks[network]
        assert found is not None
        assert found.internal


def test_every_role_runs_and_is_asked_for_readiness_at_its_own_port(compose: ComposeFile) -> None:
    for role, port in PORTS.items():
        service = compose.ours()[role]
        assert service.command == [role]
        assert service.healthcheck is not None
        assert service.healthcheck.test[-1] == f"http://127.0.0.1:{port}/readyz"
        assert "migrate" in service.depends_on
    assert compose.ours()["migrate"].command == ["migrate"]


def test_our_services_run_as_the_user_of_the_image(compose: ComposeFile) -> None:
    assert {service.user for service in compose.ours().values()} == {None}


@SERVICES
def test_an_environment_names_where_a_secret_is_and_never_holds_it(
    compose: ComposeFile, name: str
) -> None:
    for variable, value in compose.services[name].fixed_environment().items():
        if any(word in variable for word in SECRET_WORDS):
            assert variable.endswith("_FILE")
        assert urlsplit(value).password is None
        assert "password" not in parse_qs(urlsplit(value).query)


def test_every_setting_is_known_and_its_value_can_be_meant(
    compose: ComposeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in compose.ours().values():
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            monkeypatch.delenv(name)
        settings = {**read_dockerfile().environment(), **service.environment}
        ours = {name: value for name, value in settings.items() if name.startswith(PREFIX)}
        assert ours.keys() <= {setting_name(field) for field in field_names()}
        for name, value in ours.items():
            monkeypatch.setenv(name, value or "")
        assert read_settings(Path("there-is-no-such-file")).http_host == "0.0.0.0"  # noqa: S104


def test_only_migrate_may_write_the_master_key_and_no_server_sees_it(compose: ComposeFile) -> None:
    seen = {name: mounts(service).get("master-key") for name, service in compose.services.items()}
    writers = {name for name, mode in seen.items() if mode == "rw"}
    readers = {name for name, mode in seen.items() if mode == "ro"}
    assert (writers, readers) == ({"migrate"}, set(PORTS))


def test_a_role_sees_its_own_password_alone_and_logs_in_as_itself(compose: ComposeFile) -> None:
    for role in PORTS:
        service = compose.services[role]
        seen = [name for name in mounts(service) if name.startswith("credentials")]
        assert seen == [f"credentials-{role}"]
        assert mounts(service)[f"credentials-{role}"] == "ro"
        url = urlsplit(service.fixed_environment()["CUSTOMERS_DATABASE_URL"])
        assert url.username == role
        assert service.depends_on["users"].condition == WHEN_DONE
    mounted = {name for each in compose.services.values() for name in mounts(each)}
    assert {f"credentials-{role}" for role in PORTS} < mounted


def test_no_volume_without_a_name_is_left_behind(compose: ComposeFile) -> None:
    def covered(name: str) -> set[str]:
        service = compose.services[name]
        volumes = {volume.split(":")[1] for volume in service.volumes}
        return volumes | {tmpfs.split(":")[0] for tmpfs in service.tmpfs}

    assert covered("users") >= POSTGRES_FOLDERS
    assert covered("kafka") >= KAFKA_FOLDERS
    assert "/var/lib/postgresql" in covered("postgres")


def test_base_images_can_be_served_by_a_mirror(compose: ComposeFile) -> None:
    assert compose.services["postgres"].image.startswith("${POSTGRES_IMAGE:-postgres:")
    assert compose.services["users"].image == compose.services["postgres"].image
    assert compose.services["kafka"].image.startswith("${KAFKA_IMAGE:-apache/kafka:")
    builds = [service.build for service in compose.services.values() if service.build is not None]
    assert [build.args for build in builds] == [["PYTHON_IMAGE"]]
    assert compose.services.keys() - compose.ours().keys() == {"postgres", "kafka", "users"}
