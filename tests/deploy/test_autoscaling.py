"""The component that scales: what it asks Prometheus for exists, and all that it makes has work."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from service.kafka.config import ORDERS_PARTITIONS
from tests.deploy.manifests import of_kind, workloads
from tests.deploy.prometheus import check_expressions
from tests.deploy.test_kubernetes import EXAMPLE, environment_of


class _Closed(BaseModel):
    """Kubernetes' own schemas do not know KEDA's kinds, so these models refuse other fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class Target(_Closed):
    name: str


class Fallback(_Closed):
    failure_threshold: int
    replicas: int


class ScaleDown(_Closed):
    stabilization_window_seconds: int


class Behavior(_Closed):
    scale_down: ScaleDown


class AutoscalerConfig(_Closed):
    behavior: Behavior


class Advanced(_Closed):
    horizontal_pod_autoscaler_config: AutoscalerConfig


class PrometheusQuery(_Closed):
    server_address: str
    query: str
    threshold: str
    ignore_null_values: Literal["false"]


class Trigger(_Closed):
    type: Literal["prometheus"]
    metric_type: Literal["AverageValue"]
    metadata: PrometheusQuery


class Scaling(_Closed):
    scale_target_ref: Target
    min_replica_count: int
    max_replica_count: int
    polling_interval: int
    fallback: Fallback
    advanced: Advanced
    triggers: list[Trigger]


def scaled() -> dict[str, Scaling]:
    found = of_kind(EXAMPLE, "ScaledObject")
    return {name: Scaling.model_validate(each["spec"]) for name, each in found.items()}


def test_lag_makes_as_many_workers_as_have_work_and_never_only_one() -> None:
    partitions = {
        "customers-projections": int(
            environment_of(EXAMPLE, "projections")["CUSTOMERS_KAFKA_PARTITIONS"]
        ),
        "customers-intake": ORDERS_PARTITIONS,
    }
    found = scaled()
    assert {name: each.max_replica_count for name, each in found.items()} == partitions
    assert {each.min_replica_count for each in found.values()} == {2}
    assert all(float(each.triggers[0].metadata.threshold) > 0 for each in found.values())


def test_what_is_asked_of_prometheus_exists() -> None:
    queries = [trigger.metadata.query for each in scaled().values() for trigger in each.triggers]
    assert len(queries) == 2
    check_expressions(queries)


def test_what_every_process_tells_of_the_whole_is_not_added_up() -> None:
    for each in scaled().values():
        (trigger,) = each.triggers
        assert trigger.metadata.query.startswith("max(")


def test_who_is_scaled_exists_and_is_not_set_back_by_the_next_apply() -> None:
    (api,) = of_kind(EXAMPLE, "HorizontalPodAutoscaler").values()
    assert api["spec"]["scaleTargetRef"]["name"] == "customers-api"
    targets = {"customers-api", *(each.scale_target_ref.name for each in scaled().values())}
    replicas = {each.metadata.name: each.spec.replicas for each in workloads(EXAMPLE).values()}
    assert targets < replicas.keys()
    assert {replicas[target] for target in targets} == {None}
    assert replicas["customers-relay"] == 2
