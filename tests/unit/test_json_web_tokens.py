"""JWTs: only what the issuer signed, for us, now; and an issuer that is not asked too often."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from service.cli.issuer import fetch
from service.errors import ConfigurationError, Unavailable
from service.json_web_tokens import (
    FETCH_PAUSE_SECONDS,
    KEY_SET_BYTES_MAX,
    KEYS_FRESH_SECONDS,
    KEYS_GRACE_SECONDS,
    FixedKey,
    JsonWebTokens,
    RemoteKeys,
)

ISSUER, AUDIENCE, URL = "https://issuer.example", "customers", "https://issuer.example/keys"
RSA = generate_rsa(65_537, 2_048)
ED25519 = Ed25519PrivateKey.generate()
STRANGER = Ed25519PrivateKey.generate()

SigningKey = RSAPrivateKey | Ed25519PrivateKey


UNPRINTABLE = ("\0", "\n", "\x7f", "\ud800", "\u202e")


def claims(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "shop-backend",
        "exp": int(time.time()) + 600,
        "tenant": "acme",
        "scope": "customers:read customers:write",
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def sign(payload: Mapping[str, object], key: SigningKey = ED25519, key_id: str = "ed") -> str:
    algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "EdDSA"
    return jwt.encode(dict(payload), key, algorithm, headers={"kid": key_id})


def key_set(**keys: SigningKey) -> bytes:
    found = []
    for key_id, key in keys.items():
        maker = RSAAlgorithm if isinstance(key, RSAPrivateKey) else OKPAlgorithm
        found.append(json.loads(maker.to_jwk(key.public_key())) | {"kid": key_id})
    return json.dumps({"keys": found}).encode()


class Issuer:
    """What the issuer publishes; counts how often it is asked."""

    def __init__(self, **keys: SigningKey) -> None:
        self.answer: bytes | Exception = key_set(**keys)
        self.questions = 0
        self.now = 0.0

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.questions += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def clock(self) -> float:
        return self.now

    def keys(self) -> RemoteKeys:
        return RemoteKeys(URL, self.fetch, clock=self.clock)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(ed=ED25519, rsa=RSA)


@pytest.fixture
def verifier(issuer: Issuer) -> JsonWebTokens:
    return JsonWebTokens(issuer.keys(), issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize(("key", "key_id"), [(RSA, "rsa"), (ED25519, "ed")])
async def test_both_algorithms_are_accepted(
    key: SigningKey, key_id: str, verifier: JsonWebTokens
) -> None:
    found = await verifier.verify(sign(claims(), key, key_id))
    assert found is not None
    assert (found.tenant, found.subject) == ("acme", "shop-backend")
    assert found.scopes == {"customers:read", "customers:write"}
    assert 620 < found.expires_in_seconds <= 631


async def test_scopes_may_be_a_list_and_claims_have_other_names(issuer: Issuer) -> None:
    verifier = JsonWebTokens(
        issuer.keys(), issuer=ISSUER, audience=AUDIENCE, tenant_claim="org", scope_claim="scp"
    )
    found = await verifier.verify(sign(claims(org="other", scp=["admin", 7])))
    assert found is not None
    assert (found.tenant, found.scopes) == ("other", {"admin"})


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": 1},
        {"nbf": 99_999_999_999},
        {"iss": None},
        {"iss": "https://other.example"},
        {"aud": None},
        {"aud": "others"},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"tenant": None},
        {"tenant": ["acme"]},
        {"tenant": ""},
        {"tenant": "x" * 64},
        *({name: f"a{text}b"} for name in ("sub", "tenant") for text in UNPRINTABLE),
    ],
)
async def test_claims_that_are_not_for_us_now_are_refused(
    changes: dict[str, object], verifier: JsonWebTokens
) -> None:
    assert await verifier.verify(sign(claims(**changes))) is None


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({}, None),
        ({"azp": "till"}, "till"),
        ({"client_id": "Till 4", "azp": "other"}, "Till 4"),
        ({"client_id": "jane@example.com", "azp": "till"}, "till"),
        *(({"azp": wrong}, None) for wrong in ("", 7, "x" * 101, "jane@example.com", *UNPRINTABLE)),
    ],
)
async def test_a_client_is_named_where_its_name_is_a_programs(
    changes: dict[str, object], client: str | None, verifier: JsonWebTokens
) -> None:
    found = await verifier.verify(sign(claims(**changes)))
    assert found is not None
    assert found.client == client


async def test_clocks_may_differ_a_little(verifier: JsonWebTokens) -> None:
    assert await verifier.verify(sign(claims(exp=int(time.time()) - 5))) is not None


def unsigned(algorithm: str) -> str:
    parts = (json.dumps({"alg": algorithm, "kid": "ed"}), json.dumps(claims()))
    return ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts) + "."


def hmac_signed_with(public_key: bytes, key_id: str) -> str:
    """The confusion of algorithms: an HMAC whose secret is the public key that everybody has."""
    import hmac

    header = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode()]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(public_key, text, "sha256")).rstrip(b"=")
    return (text + b"." + mac).decode()


RSA_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "bearer",
    [
        sign(claims(), STRANGER, "ed"),
        sign(claims(), ED25519, "rsa"),
        sign(claims(), RSA, "ed"),
        sign(claims(), ED25519, "unknown"),
        unsigned("none"),
        unsigned("NONE"),
        unsigned("EdDSA"),
        hmac_signed_with(RSA_PEM, "rsa"),
        "..",
        "a.b.c",
        "\udcff.b.c",
        "eyJhbGciOiJFZERTQSJ9..",
    ],
)
async def test_what_the_issuer_did_not_sign_is_refused(
    bearer: str, verifier: JsonWebTokens
) -> None:
    assert await verifier.verify(bearer) is None


async def test_a_token_without_a_key_id_needs_the_only_key() -> None:
    bearer = jwt.encode(claims(), ED25519, "EdDSA")
    only, several = Issuer(ed=ED25519), Issuer(ed=ED25519, rsa=RSA)
    for issuer, is_found in ((only, True), (several, False)):
        verifier = JsonWebTokens(issuer.keys(), issuer=ISSUER, audience=AUDIENCE)
        assert (await verifier.verify(bearer) is not None) == is_found


async def test_the_issuer_is_asked_seldom_whatever_callers_send(issuer: Issuer) -> None:
    keys = issuer.keys()
    await asyncio.gather(*(keys.find("ed") for _ in range(20)))
    for number in range(20):
        assert await keys.find(f"invented-{number}") is None
    assert issuer.questions == 1
    issuer.now += FETCH_PAUSE_SECONDS
    assert await keys.find("ed") is not None
    assert issuer.questions == 1
    assert await keys.find("invented") is None
    assert issuer.questions == 2


async def test_a_new_key_is_found_and_an_old_one_goes(issuer: Issuer) -> None:
    keys = issuer.keys()
    assert await keys.find("new") is None
    issuer.answer = key_set(new=STRANGER)
    issuer.now += FETCH_PAUSE_SECONDS
    assert await keys.find("new") is not None
    assert await keys.find("ed") is None
    issuer.now += KEYS_FRESH_SECONDS
    assert await keys.find("new") is not None
    assert issuer.questions == 3


@pytest.mark.parametrize(
    "answer",
    [
        OSError(),
        TimeoutError(),
        Unavailable("issuer_unavailable", "Down."),
        b"",
        b"[]",
        b"7",
        b"\xff",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "ed"}]}',
        b" " * KEY_SET_BYTES_MAX + b"{}",
    ],
)
async def test_known_keys_serve_for_a_while_when_the_issuer_fails(
    answer: bytes | Exception, issuer: Issuer
) -> None:
    keys = issuer.keys()
    assert await keys.find("ed") is not None
    issuer.answer = answer
    issuer.now = KEYS_GRACE_SECONDS - 1
    assert await keys.find("ed") is not None
    issuer.now = KEYS_GRACE_SECONDS
    with pytest.raises(Unavailable):
        await keys.find("ed")
    assert issuer.questions == 2


async def test_an_issuer_that_never_answered_makes_it_unavailable(issuer: Issuer) -> None:
    issuer.answer = OSError()
    with pytest.raises(Unavailable):
        await issuer.keys().find("ed")


async def test_an_issuer_that_fails_is_logged_when_it_begins_and_when_it_ends(
    issuer: Issuer,
) -> None:
    keys = issuer.keys()
    good = issuer.answer
    lost, back = "issuer_keys_not_fetched", "issuer_keys_fetched"
    answers = ((OSError(), lost), (TimeoutError(), None), (b"{}", None), (good, back))
    expected: list[str] = []
    with capture_logs() as lines:
        for answer, event in (*answers, (b"{}", lost), (good, back)):
            issuer.answer = answer
            issuer.now += KEYS_FRESH_SECONDS
            with suppress(Unavailable):
                await keys.find("ed")
            expected += [event] if event else []
            assert [line["event"] for line in lines] == expected
    assert lines[0]["reason"] == "OSError"
    assert URL not in str(lines)


async def test_an_answer_that_is_no_http_is_the_issuers_fault() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"no HTTP\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unavailable) as raised:
            await fetch(f"http://127.0.0.1:{port}/keys")
    assert raised.value.code == "issuer_unavailable"


async def test_keys_of_other_kinds_are_not_used() -> None:
    weak, curve = generate_rsa(65_537, 1_024), generate_ec(SECP256R1())  # noqa: S505
    document = json.loads(key_set(weak=weak))
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(curve.public_key())) | {"kid": "curve"}
    encryption = json.loads(key_set(enc=ED25519))["keys"][0] | {"use": "enc"}
    issuer = Issuer(ed=ED25519)
    good = json.loads(key_set(ed=ED25519))["keys"]
    issuer.answer = json.dumps({"keys": [*document["keys"], jwk, encryption, *good]}).encode()
    keys = issuer.keys()
    assert [await keys.find(name) for name in ("weak", "curve", "enc")] == [None, None, None]
    assert await keys.find("ed") is not None


@pytest.mark.parametrize("key", [RSA, ED25519])
async def test_the_key_may_come_from_a_file(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    public = key.public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    verifier = JsonWebTokens(FixedKey(path), issuer=ISSUER, audience=AUDIENCE)
    assert await verifier.verify(sign(claims(), key, "whatever")) is not None
    assert await verifier.verify(sign(claims(), STRANGER)) is None


@pytest.mark.parametrize("content", [b"", b"no key", RSA_PEM[:100]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_key_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        FixedKey(path)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no public key in PEM"):
        FixedKey(path)
