"""Settings: validated before anything starts, documented, and never showing a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from service.database_url import mask_url
from service.errors import ConfigurationError
from service.settings import (
    PREFIX,
    Settings,
    default_data_directory,
    field_names,
    read_settings,
    setting_name,
)

README = Path(__file__).parents[2] / "README.md"
NO_FILE = Path("there-is-no-such-file")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    return None


def read(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(PREFIX + name, value)
    return read_settings(NO_FILE)


def test_defaults_need_nothing_set() -> None:
    settings = read_settings(NO_FILE)
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", None)
    assert (settings.kafka_delivery, settings.default_currency) == (None, "USD")
    assert (settings.shutdown_timeout_seconds, settings.rate_limit_per_second) == (10.0, 0)
    assert settings.master_key_path == settings.data_directory / "master.key"


@pytest.mark.parametrize(
    ("values", "on_embedded", "elsewhere"),
    [
        ({}, "at-least-once", "exactly-once"),
        ({"KAFKA_IDEMPOTENCE": "false"}, "at-least-once", "at-least-once"),
        ({"KAFKA_DELIVERY": "at-least-once"}, "at-least-once", "at-least-once"),
    ],
)
def test_the_delivery_is_exactly_once_where_nothing_speaks_against_it(
    monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str], on_embedded: str, elsewhere: str
) -> None:
    settings = read(monkeypatch, values)
    assert settings.delivery(is_embedded=True) == on_embedded
    assert settings.delivery(is_embedded=False) == elsewhere


def test_the_embedded_broker_is_not_asked_for_what_it_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read(monkeypatch, {"KAFKA_DELIVERY": "exactly-once"})
    assert settings.delivery(is_embedded=False) == "exactly-once"
    with pytest.raises(ConfigurationError, match="KAFKA_DELIVERY=exactly-once needs transactions"):
        settings.delivery(is_embedded=True)


def test_roots_data_is_not_in_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_directory() == Path("/var/lib/customers")


def test_an_env_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("CUSTOMERS_HTTP_PORT=1\nCUSTOMERS_LOG_LEVEL=ERROR\nOTHER_NAME=x\n")
    monkeypatch.setenv("CUSTOMERS_HTTP_PORT", "2")
    settings = read_settings(env_file)
    assert (settings.http_port, settings.log_level) == (2, "ERROR")


def test_an_empty_value_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {"DATABASE_URL": "", "HTTP_PORT": ""}).http_port is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"HTTP_PROT": "1"}, "CUSTOMERS_HTTP_PROT is not a setting: did you mean CUSTOMERS_HTTP_P"),
        ({"X": "1"}, "CUSTOMERS_X is not a setting: `customers config` lists them all."),
        ({"HTTP_PORT": "many"}, "CUSTOMERS_HTTP_PORT is wrong: input should be a valid integer"),
        ({"HTTP_PORT": "70000"}, "CUSTOMERS_HTTP_PORT is wrong: input should be less than"),
        ({"LOG_LEVEL": "LOUD"}, "CUSTOMERS_LOG_LEVEL is wrong: input should be 'DEBUG', 'INFO'"),
        ({"DATABASE_URL": "mysql://u:topsecret@h"}, "CUSTOMERS_DATABASE_URL is wrong: string"),
        ({"DEFAULT_CURRENCY": "usd"}, "CUSTOMERS_DEFAULT_CURRENCY is wrong: string should match"),
        ({"JWT_JWKS_URL": "https://issuer.example/keys"}, "JWTs need CUSTOMERS_JWT_ISSUER and"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "SASL needs CUSTOMERS_KAFKA_SASL_USERNAME and"),
        (
            {"KAFKA_DELIVERY": "exactly-once", "KAFKA_IDEMPOTENCE": "false"},
            "CUSTOMERS_KAFKA_DELIVERY=exactly-once needs CUSTOMERS_KAFKA_IDEMPOTENCE=true",
        ),
        ({"KAFKA_DELIVERY": "at-most-once"}, "CUSTOMERS_KAFKA_DELIVERY is wrong: input should be"),
        ({"KAFKA_TLS_CA_FILE": "/no/such/file"}, "CUSTOMERS_KAFKA_TLS_CA_FILE is wrong: path does"),
        ({"HTTP_PORT": "x", "HTTP_WORKERS": "0"}, "integer, unable to parse string as an "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_without_the_value(
    values: Mapping[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(monkeypatch, values)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "topsecret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://shop:topsecret/1@127.0.0.1/shop", "its port is not a number"),
        ("postgresql://shop:1/topsecret@h/shop?sslmode=off", "`sslmode` is one of"),
        ("postgresql://shop:top#secret@127.0.0.1/shop", "there is a `#` in it"),
        ("postgresql://shop:topsecret?x@127.0.0.1/shop", "its port is not a number"),
        ("postgresql://shop:topsecret@1@127.0.0.1/shop", "there is more than one `@`"),
        ("postgresql://shop:topsecret[@127.0.0.1/shop", "its host is malformed"),
        ("postgresql://shop:topsecret@host:notaport/shop", "its port is not a number"),
        ("postgresql://shop:topsecret@a,b:0/shop", "its port is not a number"),
        ("postgresql://shop:topsecret@a,,b/shop", "its host is malformed"),
        ("postgresql://shop:topsecret@host:99999/shop", "its port is not a number"),
        ("postgresql://shop:topsecret@a:b:c/shop", "its host is malformed"),
        ("postgresql://shop:topsecret@[::1/shop", "its host is malformed"),
        ("postgresql://shop:topsecret@h/shop?sslmode=foo", "`sslmode` is one of allow, disable"),
        ("postgresql://shop:topsecret@h/shop?target_session_attrs=x", "`target_session_attrs` is"),
        ("postgresql://shop:topsecret@h/shop?topsecret=bar", "a parameter after its `?` is unknow"),
        ("postgresql://shop:topsecret@h/shop?topsecret", "what follows its `?` is not name=value"),
        ("postgresql://shop@/shop?host=/run/x&port=topsecret", "its port is not a number"),
    ],
)
def test_a_database_url_that_cannot_be_meant_is_one_sentence_without_it(
    url: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(monkeypatch, {"DATABASE_URL": url})
    said = str(raised.value)
    assert said.startswith(f"CUSTOMERS_DATABASE_URL is wrong: {sentence}")
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@/postgres?host=/var/lib/x/socket&port=5433",
        "postgresql:///d?host=/run/x",
        "postgres://jo:p%2F%23%40%3F@h:5/d?sslmode=verify-full&application_name=x",
        "postgresql://jo@h1,h2/d",
        "postgresql://jo@h1:1,h2:2/d?target_session_attrs=read-write",
        "postgresql://jo@[::1]:5432/d",
        "postgresql://jo@%2Frun%2Fx/d",
        "postgresql://jo@h/d?passfile=/p&options=-c%20jit%3Doff&my.setting=1",
        "postgresql://h",
    ],
)
def test_database_urls_that_are_sound(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {"DATABASE_URL": url}).require_database_dsn() == url


def test_an_unknown_name_in_the_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CUSTOMERS_LOGLEVEL=INFO\n")
    with pytest.raises(ConfigurationError, match="did you mean CUSTOMERS_LOG_LEVEL"):
        read_settings(tmp_path / ".env")


def test_names_of_the_tests_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, {"TEST_DATABASE_URL": "x", "TEST_ANYTHING": "y"})


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        {
            "DATABASE_URL": "postgresql://jo:topsecret@h:5/d?sslmode=require&password=topsecret",
            "KAFKA_SASL_PASSWORD": "topsecret",
            "MASTER_KEY": "topsecret",
        },
    )
    assert "topsecret" not in repr(settings) + str(settings.shown())
    url = "postgresql://jo:********@h:5/d?sslmode=require&password=********"
    assert settings.shown()["CUSTOMERS_DATABASE_URL"] == url


@pytest.mark.parametrize(
    "url", ["postgresql:///d?host=/run/x", "postgresql://jo@h1:1,h2:2/d", "postgresql://h/d"]
)
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert mask_url(url) == url


def test_a_ca_file_asks_for_verified_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca_file = tmp_path / "a ca.pem"
    ca_file.write_text("")
    url = "postgresql://u:p%40@h/d?sslmode=prefer&application_name=x"
    settings = read(monkeypatch, {"DATABASE_URL": url, "DATABASE_TLS_CA_FILE": str(ca_file)})
    path = str(ca_file).replace(" ", "%20")
    expected = f"postgresql://u:p%40@h/d?application_name=x&sslmode=verify-full&sslrootcert={path}"
    assert settings.require_database_dsn() == expected


def test_what_a_role_cannot_do_without_is_named() -> None:
    settings = read_settings(NO_FILE)
    with pytest.raises(ConfigurationError, match="CUSTOMERS_DATABASE_URL is not set"):
        settings.require_database_dsn()
    with pytest.raises(ConfigurationError, match="CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is not set"):
        settings.require_kafka_bootstrap_servers()


@pytest.mark.parametrize("field", field_names())
def test_every_setting_says_what_it_is_for(field: str) -> None:
    assert Settings.model_fields[field].description


@pytest.mark.parametrize("field", field_names())
def test_every_setting_is_in_the_readmes_table(field: str) -> None:
    """One row each: `| `NAME` | default | description |`, by the name with or without prefix."""
    name = setting_name(field)
    row = rf"^\| *`({PREFIX})?{field.upper()}` *\|"
    assert re.search(row, README.read_text(encoding="utf-8"), re.MULTILINE), (
        f"README.md has no row for {name}; this one would do:\n{expected_row(field)}"
    )


def expected_row(field: str) -> str:
    info = Settings.model_fields[field]
    default = "" if info.default_factory or info.default in {None, ""} else f"`{info.default}`"
    return f"| `{field.upper()}` | {default} | {info.description} |"
