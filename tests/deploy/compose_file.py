"""docker-compose.yml as the tests read it: parsed into what they ask about, and nothing else.

Invariant: what is left out here is not checked, so a check starts with a field of `Service`.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, Field

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
OUR_IMAGE = "customers-service"
WHEN_DONE = "service_completed_successfully"


class HealthCheck(BaseModel):
    test: list[str]


class Dependency(BaseModel):
    condition: str


class Build(BaseModel):
    args: list[str]


class Service(BaseModel):
    """`networks` is empty where `network_mode` says what there is instead."""

    image: str
    build: Build | None = None
    user: str | None = None
    command: list[str] = []
    environment: dict[str, str | None] = {}
    depends_on: dict[str, Dependency] = {}
    healthcheck: HealthCheck | None = None
    restart: str = "no"
    ports: list[str] = []
    networks: list[str] = []
    network_mode: str | None = None
    volumes: list[str] = []
    tmpfs: list[str] = []
    read_only: bool = False
    privileged: bool = False
    cap_drop: list[str] = []
    cap_add: list[str] = []
    security_opt: list[str] = []
    mem_limit: str | None = None

    def fixed_environment(self) -> dict[str, str]:
        """Without what is taken from the caller's environment."""
        return {name: value for name, value in self.environment.items() if value is not None}


class Network(BaseModel):
    internal: bool = False


class ComposeFile(BaseModel):
    services: dict[str, Service]
    networks: dict[str, Network | None] = Field(min_length=1)

    def ours(self) -> dict[str, Service]:
        return {name: each for name, each in self.services.items() if each.image == OUR_IMAGE}

    def one_shots(self) -> set[str]:
        """Those that another service waits for to have ended well."""
        return {
            name
            for service in self.services.values()
            for name, dependency in service.depends_on.items()
            if dependency.condition == WHEN_DONE
        }


def read_compose_file() -> ComposeFile:
    return ComposeFile.model_validate(yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8")))
