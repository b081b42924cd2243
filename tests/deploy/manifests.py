"""deploy/kubernetes as the tests read it: rendered by the real tool, parsed into models.

Invariant: what is left out here is only checked by the schemas of Kubernetes, so a check starts
with a field of one of these models.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from typing import TypeAlias

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from service.upcasters import Json
from tests.deploy.compose_file import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "overlays/example")
RENDER_SECONDS = 30
COMPONENT = "app.kubernetes.io/component"

Resource: TypeAlias = "dict[str, Json]"
Labels: TypeAlias = dict[str, str]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Metadata(_Part):
    name: str = ""
    labels: Labels = {}


class Reference(_Part):
    name: str
    key: str = ""
    optional: bool = False


class ValueFrom(_Part):
    secret_key_ref: Reference


class Variable(_Part):
    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class EnvironmentFrom(_Part):
    config_map_ref: Reference | None = None
    secret_ref: Reference | None = None


class Page(_Part):
    path: str
    port: str


class Probe(_Part):
    http_get: Page
    timeout_seconds: int


class Command(_Part):
    command: list[str]


class Hook(_Part):
    exec: Command


class Lifecycle(_Part):
    pre_stop: Hook


class Port(_Part):
    name: str = ""
    container_port: int = 0
    port: int | str = 0
    target_port: str = ""


class Resources(_Part):
    requests: dict[str, str]
    limits: dict[str, str]


class Capabilities(_Part):
    drop: list[str] = []
    add: list[str] = []


class Security(_Part):
    allow_privilege_escalation: bool = True
    read_only_root_filesystem: bool = False
    privileged: bool = False
    capabilities: Capabilities = Capabilities()


class Mount(_Part):
    name: str
    mount_path: str
    read_only: bool = False


class Container(_Part):
    image: str
    args: list[str]
    env: list[Variable]
    env_from: list[EnvironmentFrom]
    ports: list[Port] = []
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    resources: Resources
    security_context: Security
    volume_mounts: list[Mount]


class Profile(_Part):
    type: str


class PodSecurity(_Part):
    run_as_non_root: bool = False
    run_as_user: int
    fs_group: int
    seccomp_profile: Profile


class Pod(_Part):
    containers: list[Container]
    enable_service_links: bool = True
    automount_service_account_token: bool = True
    security_context: PodSecurity
    termination_grace_period_seconds: int = 30


class Template(_Part):
    metadata: Metadata
    spec: Pod


class Selector(_Part):
    match_labels: Labels = {}


class Rolling(_Part):
    max_unavailable: int
    max_surge: int


class Strategy(_Part):
    rolling_update: Rolling


class Workload(_Part):
    """A Deployment or a Job."""

    metadata: Metadata
    spec: WorkloadSpec

    @property
    def container(self) -> Container:
        (container,) = self.spec.template.spec.containers
        return container


class WorkloadSpec(_Part):
    replicas: int | None = None
    selector: Selector | None = None
    strategy: Strategy | None = None
    template: Template


@cache
def rendered(overlay: str) -> tuple[Resource, ...]:
    """What would be applied. Skips the test where no tool is there to render it."""
    folder = str(FOLDER / overlay)
    if shutil.which("kustomize") is not None:
        command = ["kustomize", "build", folder]
    elif shutil.which("kubectl") is not None:
        command = ["kubectl", "kustomize", folder]
    else:
        pytest.skip("needs kustomize or kubectl")
    made = subprocess.run(command, timeout=RENDER_SECONDS, check=True, capture_output=True)
    return tuple(yaml.safe_load_all(made.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Resource]:
    """By name."""
    found = [each for each in rendered(overlay) if each["kind"] in kinds]
    return {TypeAdapter(Metadata).validate_python(each["metadata"]).name: each for each in found}


def workloads(overlay: str) -> dict[str, Workload]:
    """By what they run."""
    made = [
        Workload.model_validate(each) for each in of_kind(overlay, "Deployment", "Job").values()
    ]
    return {each.container.args[0]: each for each in made}
