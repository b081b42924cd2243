"""What the console shows: how everything is, and one tenant's customers with all that they were."""

from __future__ import annotations

import re

import pytest

from service.event_log import EventLog
from service.events import OrderRecorded
from service.http.console import CUSTOMERS_SHOWN, EVENTS_SHOWN, ORDERS_SHOWN
from service.identifiers import CustomerId
from service.postgres import Postgres
from service.standing import STALLED_SECONDS
from tests.support.api import Api
from tests.support.console import Visitor, signed_in
from tests.support.histories import an_order
from tests.support.logs import a_change, appending
from tests.support.parking import change_the_log

OLD = "UPDATE log.event SET recorded_at = recorded_at - make_interval(secs => $1)"
FORGET = "DELETE FROM projection.checkpoint"
TIMELINE = (
    (
        "Order recorded version 5",
        "ord_1 version 1, paid total 0.01 USD; contributes 0.01 USD",
        "Order count 0 1",
        "Total spent 0.00 USD 0.01 USD",
    ),
    ("Address added version 4", "Addresses none 1 Oak Ave, Portland, US (default)"),
    ("Tagged version 3", "Tags none vip"),
    ("Updated version 2", "First name Jane Janet", "Metadata segment: a segment: b"),
    ("Created version 1", "by tests (token tok_", "First name none Jane", "position 1"),
)
HOSTILE = "<script>alert(1)</script>"


def id_of(path: str) -> str:
    return path.removeprefix("/user/")


async def page_of(visitor: Visitor, path: str, query: str = "") -> str:
    shown = await visitor.get(f"/console/customers/{id_of(path)}{query}")
    assert shown.status == 200, shown.body
    return shown.body


def versions(body: str) -> list[int]:
    return [int(each) for each in re.findall(r'id="v(\d+)"', body)]


def link(body: str, text: str) -> str | None:
    found = re.search(rf'href="[^"?]*(\?[^"#]*)#[a-z]+">{text}</a>', body)
    return None if found is None else found[1].replace("&amp;", "&")


async def sell(database: str, path: str, version: int, count: int) -> None:
    """Orders 1, 2 … of so many cents, recorded after this version."""
    customer_id = CustomerId(id_of(path))
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        for number in range(1, count + 1):
            event = OrderRecorded(order=an_order(f"ord_{number}", 1, total=number))
            await appender.append(a_change(customer_id, version + number - 1, event))


async def test_the_overview_tells_log_and_followers(api: Api, database: str) -> None:
    await api.create()
    visitor = await signed_in(api)
    async with Postgres.connect(database) as postgres:
        head = await EventLog(postgres).head()
    text = (await visitor.get()).text
    assert "Head 1 " in text
    assert head.epoch in text
    assert "Projection customers" in text
    assert "Nothing that follows the log is more than" in text
    assert "No Kafka is named here" in text
    assert "Relay" not in text
    assert "http-equiv" not in (await visitor.get()).body
    assert 'http-equiv="refresh"' in (await visitor.get("/console?refresh=on")).body


async def test_a_part_that_stands_still_is_an_alarm(api: Api, database: str) -> None:
    await api.create()
    visitor = await signed_in(api)
    assert (await api.get("/user")).status == 200  # so the projection has come to the event
    async with Postgres.connect(database) as postgres:
        await change_the_log(postgres, OLD, STALLED_SECONDS + 1)
        await postgres.execute(FORGET)
    shown = await visitor.get()
    assert "Stalled: projection customers" in shown.text
    assert 'role="alert"' in shown.body


async def test_who_may_not_read_customers_sees_positions_alone(api: Api) -> None:
    path = await api.create(firstName="Jane")
    visitor = await signed_in(await api.with_scopes("events:read"))
    overview = await visitor.get()
    assert overview.status == 200
    assert "/console/customers" not in overview.html.links
    for below in ("", "?q=jane", f"/{id_of(path)}"):
        refused = await visitor.get(f"/console/customers{below}")
        assert refused.status == 403
        assert "Jane" not in refused.body
        assert "jane@" not in refused.body


async def test_another_tenants_customers_are_not_there(api: Api) -> None:
    path = await api.create(firstName="Jane")
    visitor = await signed_in(await api.with_scopes("admin", tenant="other"))
    assert "0 customers" in (await visitor.get("/console/customers?q=jane")).text
    shown = await visitor.get(f"/console/customers/{id_of(path)}")
    assert (shown.status, "Jane" in shown.body) == (404, False)
    assert "There is no such customer." in shown.text


async def test_a_search_finds_by_words_and_shows_pages(api: Api) -> None:
    for number in range(CUSTOMERS_SHOWN + 1):
        await api.create(f"c{number}@example.com", firstName="Jane", lastName=f"Doe {number}")
    await api.create("other@example.com", firstName="Zoë", tags=["vip"], active=False)
    visitor = await signed_in(api)
    found = (await visitor.get("/console/customers?q=zoe")).text
    assert "1 customer for “zoe”" in found
    assert "Zoë inactive other@example.com vip 0 0.00 USD" in found
    first = await visitor.get("/console/customers?q=jane+doe")
    assert "26 customers" in first.text
    (following,) = [each for each in first.html.links if "page=2" in each]
    second = await visitor.get(following)
    seen = [each for page in (first, second) for each in page.html.links if "/cust_" in each]
    assert len(set(seen)) == CUSTOMERS_SHOWN + 1
    assert "page=3" not in second.body
    assert "Nobody" in (await visitor.get("/console/customers?q=nobody")).text


async def test_what_people_typed_is_never_markup(api: Api) -> None:
    hostile = {"firstName": HOSTILE, "lastName": '"><img src=x onerror=alert(1)>'}
    path = await api.create(
        tags=[HOSTILE, "'\"><b>"], metadata={"<i>": HOSTILE, "{{ 7 * 7 }}": "{% raw %}"}, **hostile
    )
    visitor = await signed_in(api)
    for shown in (
        await visitor.get("/console/customers"),
        await visitor.get("/console/customers?q=%3Cscript%3Ealert(1)%3C/script%3E"),
        await visitor.get(f"/console/customers/{id_of(path)}"),
    ):
        assert shown.status == 200
        assert HOSTILE in shown.text  # as words
        tags = {tag for tag, _ in shown.html.tags}
        assert tags.isdisjoint({"script", "img", "i"})
        assert not [name for _, attrs in shown.html.tags for name in attrs if name.startswith("on")]
    assert "{{ 7 * 7 }}: {% raw %}" in shown.text


async def test_a_timeline_tells_every_change_with_who_and_before_and_after(
    api: Api, database: str
) -> None:
    path = await api.create(firstName="Jane", tags=["new"], metadata={"segment": "a", "kept": "k"})
    await api.put(path, {"firstName": "Janet", "metadata": {"segment": "b"}})
    await api.post(f"{path}/tag", {"tags": ["vip"]})
    await api.post(f"{path}/address", {"line1": "1 Oak Ave", "city": "Portland", "country": "US"})
    await sell(database, path, 4, 1)
    visitor = await signed_in(api)
    body = await page_of(visitor, path)
    assert versions(body) == [5, 4, 3, 2, 1]
    events = [" ".join(re.sub(r"<[^>]+>", " ", part).split()) for part in body.split("<h3>")[1:]]
    for event, told in zip(events, TIMELINE, strict=True):
        assert [words for words in told if words not in event] == [], event
    assert "kept" not in events[3]  # what has not changed


async def test_a_long_timeline_is_shown_in_stretches_without_a_gap(api: Api) -> None:
    path = await api.create()
    for number in range(EVENTS_SHOWN * 2 + 4):
        await api.put(path, {"firstName": f"Jane {number}"})
    visitor, query, seen = await signed_in(api), "", []
    while query is not None:
        body = await page_of(visitor, path, query)
        seen += versions(body)
        query = link(body, "Older")
    assert seen == list(range(EVENTS_SHOWN * 2 + 5, 0, -1))
    assert link(body, "Newer") is not None
    assert versions(await page_of(visitor, path, link(body, "Newer") or ""))[0] > EVENTS_SHOWN - 1
    assert versions(await page_of(visitor, path, "?after=1000")) == []


async def test_orders_are_shown_with_what_they_contribute(api: Api, database: str) -> None:
    path = await api.create()
    await sell(database, path, 1, ORDERS_SHOWN + 2)
    visitor = await signed_in(api)
    body = await page_of(visitor, path)
    earlier = link(body, "Earlier orders")
    assert earlier is not None
    rest = await page_of(visitor, path, earlier)
    rows = re.findall(r'class="mono">(ord_\d+)</th>', body + rest)
    assert sorted(rows) == sorted(f"ord_{number}" for number in range(1, ORDERS_SHOWN + 3))
    assert "<b>0.12 USD</b>" in body + rest
    assert "total 0.12 USD" in body + rest
    assert link(rest, "Latest") is not None


async def test_a_deleted_customer_is_gone(api: Api) -> None:
    path = await api.create(firstName="Jane")
    await api.delete(path)
    shown = await (await signed_in(api)).get(f"/console/customers/{id_of(path)}")
    assert (shown.status, "Jane" in shown.body) == (404, False)
    assert "The customer was deleted." in shown.text


@pytest.mark.parametrize("path", ["/console", "/console/customers", "/console/customers/cust_1"])
async def test_without_a_database_there_is_a_page_that_says_so(
    api: Api, database: str, path: str
) -> None:
    visitor = await signed_in(api)
    async with Postgres.connect(database) as postgres:
        await postgres.execute(
            "ALTER TABLE log.head RENAME TO away; ALTER TABLE log.stream RENAME TO gone;"
            " ALTER VIEW read_model.checkpoint RENAME TO lost"
        )
    shown = await visitor.get(path)
    assert (shown.status, shown.headers["Retry-After"]) == (503, "1")
    assert "The database is not migrated." in shown.text


async def test_a_query_that_cannot_be_is_a_page(api: Api) -> None:
    visitor = await signed_in(api)
    for query in ("page=x", "q=" + "x" * 201, "sort=name"):
        assert (await visitor.get(f"/console/customers?{query}")).status == 400
    wrong = f"/console/customers/{id_of(await api.create())}?orders=nonsense"
    assert (await visitor.get(wrong)).status == 400
