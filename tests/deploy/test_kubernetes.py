"""deploy/kubernetes: valid for Kubernetes, and true to the code: roles, ports, settings, rights."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.operations import operations_pages
from service.http.pages import documentation_pages
from service.rights import ROLES
from service.settings import PREFIX, field_names, read_settings, setting_name
from service.telemetry import Readiness
from tests.deploy.dockerfile import read_dockerfile
from tests.deploy.manifests import COMPONENT, OVERLAYS, Labels, of_kind, rendered, workloads
from tests.deploy.test_compose import API_BYTES, PORTS, bytes_of

EXAMPLE = "overlays/example"
VERSIONS = ("1.27", kubernetes_validate.latest_version())  # the first with all that is used
OF_OTHERS = {"ScaledObject"}  # kinds that Kubernetes itself does not know
PLACEHOLDER = "PLACEHOLDER"
OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)


@OVERLAY
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(overlay: str, version: str) -> None:
    checked = [each for each in rendered(overlay) if each["kind"] not in OF_OTHERS]
    assert len(checked) > 10
    for resource in checked:
        kubernetes_validate.validate(resource, version, strict=True)


@OVERLAY
def test_every_role_runs_at_its_own_port_and_migrate_once(overlay: str) -> None:
    found = workloads(overlay)
    assert found.keys() == {*PORTS, "migrate"}
    for role, port in PORTS.items():
        container = found[role].container
        assert container.args == [role]
        assert [(each.name, each.container_port) for each in container.ports] == [("http", port)]
        assert found[role].spec.template.metadata.labels[COMPONENT] == role
    assert list(of_kind(overlay, "Job")) == ["customers-migrate"]
    assert found["migrate"].container.ports == []


@OVERLAY
@pytest.mark.parametrize("role", PORTS)
def test_a_role_is_asked_for_life_and_readiness_by_pages_that_it_has(
    overlay: str, role: str
) -> None:
    container = workloads(overlay)[role].container
    probes = (container.startup_probe, container.liveness_probe, container.readiness_probe)
    paths = [each.http_get.path for each in probes if each is not None]
    assert paths == ["/livez", "/livez", "/readyz"]
    assert set(paths) < health_pages()
    assert {each.http_get.port for each in probes if each is not None} == {"http"}
    assert container.readiness_probe is not None
    assert container.readiness_probe.timeout_seconds > 2  # that one look may take


def health_pages() -> set[str]:
    async def readiness() -> Readiness:
        raise AssertionError("nobody asks")

    return set(operations_pages(readiness, lambda: b""))


@OVERLAY
def test_no_pod_has_a_right_that_it_does_not_need(overlay: str) -> None:
    for workload in workloads(overlay).values():
        pod = workload.spec.template.spec
        security = workload.container.security_context
        assert pod.security_context.run_as_non_root
        assert pod.security_context.run_as_user == pod.security_context.fs_group == user_of_image()
        assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
        assert not pod.automount_service_account_token
        assert not security.allow_privilege_escalation
        assert not security.privileged
        assert security.read_only_root_filesystem
        assert (security.capabilities.drop, security.capabilities.add) == (["ALL"], [])
        assert "memory" in workload.container.resources.limits
        assert {"cpu", "memory"} <= workload.container.resources.requests.keys()


@OVERLAY
def test_a_pod_of_the_api_may_take_the_memory_that_all_its_limits_add_up_to(overlay: str) -> None:
    environment = environment_of(overlay, "api")
    assert {"CUSTOMERS_HTTP_WORKERS", "CUSTOMERS_DATABASE_POOL_SIZE_MAX"}.isdisjoint(environment)
    limit = workloads(overlay)["api"].container.resources.limits["memory"]
    assert sum(API_BYTES.values()) <= bytes_of(limit)


def user_of_image() -> int:
    (user,) = read_dockerfile().all("USER")
    return int(user.split(":")[0])


@OVERLAY
def test_no_link_to_a_service_is_taken_for_a_setting(overlay: str) -> None:
    assert not any(
        workload.spec.template.spec.enable_service_links for workload in workloads(overlay).values()
    )


@OVERLAY
@pytest.mark.parametrize("role", [*PORTS, "migrate"])
def test_every_setting_is_known_and_its_value_can_be_meant(
    overlay: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**read_dockerfile().environment(), **environment_of(overlay, role)}
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert ours.keys() <= {setting_name(field) for field in field_names()}
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(Path("there-is-no-such-file"))
    mounts = {mount.mount_path for mount in workloads(overlay)[role].container.volume_mounts}
    assert str(settings.master_key_path.parent) in mounts
    assert settings.http_host == "0.0.0.0"  # noqa: S104


def environment_of(overlay: str, role: str) -> dict[str, str]:
    """As its container has it; where a Secret is the operator's, what it might hold."""
    secrets = {name: each["stringData"] for name, each in of_kind(overlay, "Secret").items()}
    maps = {name: each["data"] for name, each in of_kind(overlay, "ConfigMap").items()}
    container = workloads(overlay)[role].container
    found: dict[str, str] = {}
    for source in container.env_from:
        if source.config_map_ref is not None:
            found.update(maps[source.config_map_ref.name])
        if source.secret_ref is not None:
            found.update(secrets.get(source.secret_ref.name, {}))
    for variable in container.env:
        assert variable.value_from is not None, "what is no secret belongs to all roles' settings"
        reference = variable.value_from.secret_key_ref
        known = secrets.get(reference.name, {reference.key: "postgresql://somebody@db/customers"})
        found[variable.name] = known[reference.key]
    return found


@OVERLAY
def test_each_role_has_a_database_user_of_its_own_and_sees_no_other(overlay: str) -> None:
    def secret_of(role: str) -> str:
        (variable,) = workloads(overlay)[role].container.env
        assert variable.name == "CUSTOMERS_DATABASE_URL"
        assert variable.value_from is not None
        return variable.value_from.secret_key_ref.name

    assert {f"customers_{role}" for role in PORTS} == set(ROLES)
    assert {role: secret_of(role) for role in PORTS} == {
        role: f"customers-database-{role}" for role in PORTS
    }
    assert secret_of("migrate") == "customers-database-owner"
    if of_kind(overlay, "Secret"):
        urls = [environment_of(overlay, role)["CUSTOMERS_DATABASE_URL"] for role in PORTS]
        assert [urlsplit(url).username for url in urls] == [f"shop_{role}" for role in PORTS]


def test_the_base_has_no_secret_and_the_example_only_placeholders() -> None:
    assert of_kind("base", "Secret") == {}
    for secret in of_kind(EXAMPLE, "Secret").values():
        assert all(PLACEHOLDER in value for value in secret["stringData"].values())


@OVERLAY
def test_the_master_key_can_be_read_and_not_written(overlay: str) -> None:
    for workload in workloads(overlay).values():
        mounts = {mount.name: mount for mount in workload.container.volume_mounts}
        assert mounts["master-key"].read_only


@OVERLAY
@pytest.mark.parametrize("role", PORTS)
def test_a_pod_has_time_to_finish_and_is_ended_once_another_is_ready(
    overlay: str, role: str
) -> None:
    workload = workloads(overlay)[role]
    assert workload.container.lifecycle is not None
    program, seconds = workload.container.lifecycle.pre_stop.exec.command
    assert program == "sleep"
    shutdown = float(environment_of(overlay, role)["CUSTOMERS_SHUTDOWN_TIMEOUT_SECONDS"])
    grace = workload.spec.template.spec.termination_grace_period_seconds
    assert grace > int(seconds) + shutdown
    assert workload.spec.strategy is not None
    assert workload.spec.strategy.rolling_update.max_unavailable == 0
    assert workload.spec.replicas != 1


@OVERLAY
def test_whatever_selects_pods_finds_those_of_one_role(overlay: str) -> None:
    pods = {role: each.spec.template.metadata.labels for role, each in workloads(overlay).items()}

    def selected(labels: Labels) -> set[str]:
        return {role for role, pod in pods.items() if labels.items() <= pod.items()}

    for role in PORTS:
        selector = workloads(overlay)[role].spec.selector
        assert selector is not None
        assert selected(selector.match_labels) == {role}
    budgets = of_kind(overlay, "PodDisruptionBudget")
    assert {
        name: selected(each["spec"]["selector"]["matchLabels"]) for name, each in budgets.items()
    } == {f"customers-{role}": {role} for role in PORTS}
    (service,) = of_kind(overlay, "Service").values()
    assert selected(service["spec"]["selector"]) == {"api"}
    policies = of_kind(overlay, "NetworkPolicy")
    assert {
        name: selected(each["spec"]["podSelector"]["matchLabels"])
        for name, each in policies.items()
    } == {"customers-metrics": {*PORTS, "migrate"}, "customers-callers": {"api"}}


def test_callers_reach_every_route_and_document_and_nothing_that_is_for_operators() -> None:
    (ingress,) = of_kind(EXAMPLE, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    (service,) = of_kind(EXAMPLE, "Service")
    for path in rule["http"]["paths"]:
        assert path["pathType"] == "Prefix"
        assert path["backend"]["service"] == {"name": service, "port": {"name": "http"}}
    prefixes = [path["path"] for path in rule["http"]["paths"]]

    def is_reached(path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)

    routes = [version + route.path for route in CUSTOMER_ROUTES for version in ("", "/v1")]
    assert [path for path in (*routes, *documentation_pages()) if not is_reached(path)] == []
    assert [path for path in health_pages() if is_reached(path)] == []


def test_the_example_has_everything_that_the_base_expects() -> None:
    secrets = of_kind(EXAMPLE, "Secret")
    for workload in workloads(EXAMPLE).values():
        for variable in workload.container.env:
            assert variable.value_from is not None
            reference = variable.value_from.secret_key_ref
            assert reference.key in secrets[reference.name]["stringData"]
        assert workload.container.image == "registry.example.com/customers-service:0.1.0"
    assert "master.key" in secrets["customers-master-key"]["stringData"]
