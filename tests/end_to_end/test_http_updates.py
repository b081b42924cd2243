"""PUT and PATCH are JSON Merge Patch (RFC 7396)."""

import pytest

from tests.support.api import Api


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_what_is_absent_stays_and_null_clears(api: Api, method: str, media_type: str) -> None:
    path = await api.create(firstName="Jane", lastName="Doe", phone="+1-555-0123")
    change = {"firstName": None, "lastName": "Roe"}
    answer = await api.call(method, path, change, headers={"Content-Type": media_type})
    assert answer.status == 200
    shown = {name: answer.json[name] for name in ("firstName", "lastName", "phone")}
    assert shown == {"firstName": None, "lastName": "Roe", "phone": "+1-555-0123"}


async def test_metadata_merges_by_key(api: Api) -> None:
    path = await api.create(metadata={"segment": "new", "source": "shop", "visits": 3})
    answer = await api.patch(path, {"metadata": {"segment": "vip", "source": None}})
    assert answer.json["metadata"] == {"segment": "vip", "visits": 3}
    assert (await api.patch(path, {"metadata": None})).json["metadata"] == {}


async def test_metadata_keeps_types_and_numbers_exact(api: Api) -> None:
    metadata = {"yes": True, "one": 1, "float": 1.5, "big": 2**62, "small": 1e-7, "text": "1"}
    path = await api.create(metadata=metadata)
    shown = (await api.get(path)).json["metadata"]
    assert shown == metadata
    assert {key: type(shown[key]) for key in shown} == {key: type(metadata[key]) for key in shown}


async def test_a_large_float_is_stored_in_the_form_in_which_it_is_shown(api: Api) -> None:
    created = await api.post("/user", {"email": "jane@example.com", "metadata": {"n": 1e17}})
    assert created.json["metadata"] == {"n": 10**17}
    read = await api.get(f"/user/{created.json['id']}")
    assert read.body == created.body


async def test_nulls_in_new_metadata_are_as_if_they_were_not_there(api: Api) -> None:
    path = await api.create(metadata={"a": None, "b": 1})
    assert (await api.get(path)).json["metadata"] == {"b": 1}


async def test_tags_replace(api: Api) -> None:
    path = await api.create(tags=["a", "b"])
    answer = await api.patch(path, {"tags": ["B", "c"]})
    assert answer.json["tags"] == ["b", "c"]
    assert (await api.patch(path, {"tags": None})).json["tags"] == []


async def test_a_document_that_was_read_can_be_edited_and_sent_back_whole(api: Api) -> None:
    path = await api.create(firstName="Jane", tags=["vip"], metadata={"a": 1.0})
    await api.post(f"{path}/address", {"line1": "1 High St", "city": "Leeds", "country": "gb"})
    document = (await api.get(path)).json
    document["firstName"] = "Janet"
    answer = await api.put(path, document)
    assert answer.status == 200
    assert answer.json["firstName"] == "Janet"
    assert answer.json["version"] == document["version"] + 1
    same = await api.put(path, answer.json)
    assert same.json == answer.json


async def test_a_change_of_nothing_makes_no_version(api: Api) -> None:
    path = await api.create(firstName="Jane", tags=["vip"])
    before = await api.get(path)
    for change in ({}, {"firstName": " Jane "}, {"tags": ["VIP"]}, {"email": "JANE@Example.com"}):
        answer = await api.put(path, change)
        assert (answer.status, answer.headers["ETag"]) == (200, '"1"')
        assert answer.json == before.json
        assert int(answer.headers["Log-Position"]) == 1


async def test_addresses_change_only_through_their_own_routes(api: Api) -> None:
    path = await api.create()
    added = await api.post(f"{path}/address", {"line1": "1 Rd", "city": "Bonn", "country": "DE"})
    address = added.json
    assert (await api.put(path, {"addresses": [address]})).status == 200
    for changed in ([], None, [{**address, "line1": "2 Rd"}], [address, address], [{}]):
        answer = await api.put(path, {"addresses": changed})
        assert answer.status == 422
        assert answer.fault_codes == {"/addresses": "use_address_endpoints"}


async def test_the_email_address_cannot_be_cleared(api: Api) -> None:
    path = await api.create()
    assert (await api.put(path, {"email": None})).fault_codes == {"/email": "null_not_allowed"}
    assert (await api.put(path, {"email": ""})).fault_codes == {"/email": "invalid_email"}


async def test_text_is_trimmed_and_empty_text_is_none(api: Api) -> None:
    path = await api.create("  Jane@Example.COM ", firstName="  Jane ", lastName="   ")
    shown = (await api.get(path)).json
    assert (shown["email"], shown["firstName"], shown["lastName"]) == (
        "jane@example.com",
        "Jane",
        None,
    )
    assert (await api.put(path, {"firstName": ""})).json["firstName"] is None


async def test_deactivating_and_reactivating(api: Api) -> None:
    path = await api.create()
    off = await api.put(path, {"active": False})
    on = await api.put(path, {"active": True})
    assert (off.json["active"], off.json["version"]) == (False, 2)
    assert (on.json["active"], on.json["version"]) == (True, 3)
