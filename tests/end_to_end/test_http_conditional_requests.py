"""ETag, If-Match and If-None-Match (RFC 9110, section 13)."""

from contextlib import nullcontext
from time import process_time

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from service.http.conditions import expected_versions, is_not_modified
from service.http.problems import Refused
from tests.support.api import Api


async def test_every_answer_about_a_customer_names_its_version(api: Api) -> None:
    created = await api.post("/user", {"email": "jane@example.com"})
    path = created.headers["Location"]
    address = await api.post(f"{path}/address", {"line1": "1 Rd", "city": "Bonn", "country": "DE"})
    place = address.headers["Location"]
    answers = [
        created,
        address,
        await api.put(place, {"label": "Home"}),
        await api.post(f"{path}/tag", {"tags": ["vip"]}),
        await api.delete(f"{path}/tag/vip"),
        await api.patch(path, {"firstName": "Jane"}),
        await api.delete(place),
        await api.get(path),
    ]
    assert [answer.headers["ETag"] for answer in answers] == [
        f'"{version}"' for version in (1, 2, 3, 4, 5, 6, 7, 7)
    ]


@pytest.mark.parametrize("tags", ['"1"', "*", '"7", "1"', ' , "1" ,', 'W/"1", "1"', '"a,b", "1"'])
async def test_a_write_goes_on_when_if_match_names_the_version(api: Api, tags: str) -> None:
    path = await api.create()
    assert (await api.put(path, {"firstName": "J"}, if_match=tags)).status == 200


@pytest.mark.parametrize("tags", ['"2"', 'W/"1"', '"01"', '"abc"', '""', '"99999999999999999999"'])
async def test_a_write_fails_when_if_match_does_not_name_it(api: Api, tags: str) -> None:
    path = await api.create()
    answer = await api.put(path, {"firstName": "J"}, if_match=tags)
    assert (answer.status, answer.code) == (412, "precondition_failed")
    assert (answer.json["currentVersion"], answer.headers["ETag"]) == (1, '"1"')
    assert (await api.get(path)).json["firstName"] is None


@pytest.mark.parametrize("tags", ["1", '"1', "", ",", '*, "1"', '"1" "2"', 'w/"1"', "'1'", '"1 "'])
async def test_what_is_no_list_of_tags_is_refused(api: Api, tags: str) -> None:
    path = await api.create()
    answer = await api.put(path, {"firstName": "J"}, if_match=tags)
    assert (answer.status, answer.code) == (400, "invalid_if_match")


async def test_if_match_guards_every_kind_of_write(api: Api) -> None:
    path = await api.create()
    address = {"line1": "1 Rd", "city": "Bonn", "country": "DE"}
    place = (await api.post(f"{path}/address", address)).headers["Location"]
    stale = '"1"'
    answers = [
        await api.put(path, {}, if_match=stale),
        await api.patch(path, {}, if_match=stale),
        await api.delete(path, if_match=stale),
        await api.post(f"{path}/address", address, if_match=stale),
        await api.put(place, {"label": "Home"}, if_match=stale),
        await api.delete(place, if_match=stale),
        await api.post(f"{path}/tag", {"tags": ["vip"]}, if_match=stale),
        await api.delete(f"{path}/tag/vip", if_match=stale),
    ]
    assert [(answer.status, answer.json["currentVersion"]) for answer in answers] == [(412, 2)] * 8
    assert (await api.get(path)).headers["ETag"] == '"2"'


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"1"', 304),
        ('W/"1"', 304),
        ("*", 304),
        ('"2", "1"', 304),
        ('"2"', 200),
        ("1", 200),
        ("", 200),
    ],
)
async def test_if_none_match_spares_the_body(api: Api, tags: str, status: int) -> None:
    path = await api.create()
    answer = await api.get(path, if_none_match=tags)
    assert (answer.status, answer.headers["ETag"]) == (status, '"1"')
    assert (answer.body == b"") == (status == 304)


@pytest.mark.parametrize("part", ["/orders", "/events", "/export"])
async def test_if_none_match_spares_every_body_about_a_customer(api: Api, part: str) -> None:
    path = f"{await api.create()}{part}"
    for tags, status in (('"1"', 304), ('"2"', 200)):
        answer = await api.get(path, if_none_match=tags)
        assert (answer.status, answer.headers["ETag"]) == (status, '"1"')
        assert (answer.body == b"") == (status == 304)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("rest", ["x", '"a" x'])
def test_a_list_of_blanks_is_read_in_one_go(header: str, rest: str) -> None:
    """Which took a second, during which nobody else was answered."""
    headers = CIMultiDictProxy(CIMultiDict({header: "," + " " * 8_000 + rest}))
    began = process_time()
    with pytest.raises(Refused) if header == "If-Match" else nullcontext():
        expected_versions(headers)
    assert not is_not_modified(headers, 1)
    assert process_time() - began < 0.1


async def test_a_missing_customer_is_not_found_whatever_the_condition(api: Api) -> None:
    answer = await api.put("/user/cust_none", {}, if_match="*")
    assert answer.code == "customer_not_found"
