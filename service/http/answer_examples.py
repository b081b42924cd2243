"""What answers look like, as documents that the models made: for the documentation only.

Invariant: every model that a route answers with has an example, here or in its configuration; so
has every problem code.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from pydantic import BaseModel

from service.documents import CustomerDocument, OrderItem, list_item
from service.events import Actor, Address
from service.http.answers import (
    CustomerExport,
    CustomerList,
    EventItem,
    EventList,
    FieldChange,
    OrderList,
)
from service.http.event_examples import CREATED_AT, CUSTOMER_EXAMPLE, EVENT_ID, UPDATED_AT
from service.http.feed_route import FeedEvent
from service.http.problem_kinds import (
    PROBLEMS,
    Problem,
    ProblemCode,
    ProblemFault,
    problem_type,
)
from service.upcasters import Json

REQUEST_ID = "01921f3b5a7e7c1e9d2f4b6a8c0e1f23"
EPOCH = "5f0c6a3e8d6b4c7f9e2a1b3c4d5e6f70"

_ORDER = OrderItem(
    order_id="order_1001",
    order_version=3,
    status="paid",
    currency="USD",
    total=5_000,
    captured=4_500,
    refunded=500,
    placed_at=CREATED_AT,
    test=False,
    countable=True,
    contribution=4_000,
    reason="captured 4500 less 500 refunded",
)
_EVENT = EventItem(
    id=EVENT_ID,
    position=4_711,
    version=8,
    type="customer.updated.v1",
    time=UPDATED_AT,
    actor=Actor(type="token", id="tok_01j8z3k4m5n6p7q8r9s0t1v2w7", name="shop"),
    request_id=REQUEST_ID,
    data={"changes": {"firstName": "Janet"}},
    changes={"firstName": FieldChange(old="Jane", new="Janet")},
)
_BODIES: Mapping[type[BaseModel], BaseModel] = {
    CustomerDocument: CUSTOMER_EXAMPLE,
    Address: CUSTOMER_EXAMPLE.addresses[0],
    CustomerList: CustomerList(
        count=842, page=1, display=20, next_cursor=None, models=(list_item(CUSTOMER_EXAMPLE),)
    ),
    OrderList: OrderList(count=12, next_cursor="bzRhYjI.k3Jx0Q", models=(_ORDER,)),
    EventList: EventList(count=17, events=(_EVENT,), next_cursor="bzRhYjI.k3Jx0Q"),
    FeedEvent: FeedEvent(
        position=_EVENT.position,
        epoch=EPOCH,
        id=_EVENT.id,
        type=_EVENT.type,
        customer_id=CUSTOMER_EXAMPLE.id,
        version=_EVENT.version,
        time=_EVENT.time,
        actor=_EVENT.actor,
        data=_EVENT.data,
    ),
    CustomerExport: CustomerExport(
        exported_at=UPDATED_AT,
        as_of_position=4_720,
        customer=CUSTOMER_EXAMPLE,
        events=(_EVENT,),
        orders=(_ORDER,),
    ),
}
_FAULTS: Mapping[ProblemCode, ProblemFault] = {
    "validation_failed": ProblemFault(
        pointer="/email", code="invalid_email", detail="This is not an e-mail address."
    ),
    "invalid_parameter": ProblemFault(
        pointer="display", code="out_of_range", detail="Expected 1 to 100."
    ),
    "unknown_parameter": ProblemFault(
        pointer="tags", code="unknown_parameter", detail="There is no such query parameter."
    ),
}
_ALLOWED: Mapping[ProblemCode, list[str]] = {"unknown_parameter": ["page", "display", "sort"]}


def answer_example(model: type[BaseModel]) -> Json:
    body = _BODIES.get(model)
    return own_example(model) if body is None else _json(body)


def own_example(model: type[BaseModel]) -> Json:
    """The first of the examples that a model's configuration gives."""
    extra = model.model_config.get("json_schema_extra")
    assert isinstance(extra, dict), f"{model.__name__} needs an example"
    examples = extra["examples"]
    assert isinstance(examples, list)
    found: Json = orjson.loads(orjson.dumps(examples[0]))
    return found


def problem_example(code: ProblemCode) -> Json:
    status, title = PROBLEMS[code]
    fault = _FAULTS.get(code)
    problem = Problem(
        type=problem_type(code),
        title=title,
        status=status,
        detail=title,
        instance=f"urn:request:{REQUEST_ID}",
        code=code,
        request_id=REQUEST_ID,
        errors=[fault] if fault else [],
        allowed=_ALLOWED.get(code, []),
        current_version=8 if code == "precondition_failed" else None,
    )
    return _json(problem, exclude_defaults=True)


def _json(document: BaseModel, *, exclude_defaults: bool = False) -> Json:
    found: Json = orjson.loads(
        document.model_dump_json(by_alias=True, exclude_defaults=exclude_defaults)
    )
    return found
