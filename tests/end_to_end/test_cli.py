"""What scripts and operators rely on: commands, what they print where, and how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.end_to_end.command import run

COMMANDS = (
    "up", "api", "relay", "projections", "migrate", "config", "status",
    "tenant create", "tenant list", "token create", "token list", "token revoke",
    "intake", "intake redrive", "orders publish", "keys rotate", "verify",
)  # fmt: skip
TOKEN = re.compile(r"ctk_[A-Za-z0-9_-]{52}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    result = run(tmp_path, *command.split(), "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"Usage: customers {command}" in result.stdout


def test_help_lists_the_commands(tmp_path: Path) -> None:
    result = run(tmp_path, "--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command.split()[0]} " in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        "fly",
        "token",
        "token create",
        "up --fast",
        "api --workers 0",
        "intake fly",
        "orders publish",
        "verify --only tables",
        "verify --only log,kafka --without-kafka",
    ],
)
def test_wrong_use_ends_with_2(words: str, tmp_path: Path) -> None:
    assert run(tmp_path, *words.split()).returncode == 2


@pytest.mark.parametrize("command", [*COMMANDS[:7], "intake"])
def test_a_wrong_setting_is_one_sentence(command: str, tmp_path: Path) -> None:
    result = run(tmp_path, command, HTTP_PRT="1")
    sentence = "CUSTOMERS_HTTP_PRT is not a setting: did you mean CUSTOMERS_HTTP_PORT?\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", sentence)


@pytest.mark.parametrize(
    "command",
    [
        "api",
        "relay",
        "projections",
        "intake",
        "intake redrive",
        "migrate",
        "status",
        "keys rotate",
        "verify",
    ],
)
def test_a_missing_address_is_one_sentence(command: str, tmp_path: Path) -> None:
    result = run(tmp_path, *command.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"CUSTOMERS_[A-Z_]+ is not set: .*\n", result.stderr)


def test_the_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CUSTOMERS_HTTP_PORT=1234\n")
    assert json.loads(run(tmp_path, "config", "--json").stdout)["CUSTOMERS_HTTP_PORT"] == 1234


def test_no_example_writes_over_the_env_file(tmp_path: Path) -> None:
    """A shell empties the file before the command reads its settings from it."""
    for command in COMMANDS:
        assert "> .env" not in run(tmp_path, *command.split(), "--help").stdout


def test_config_is_an_env_file_without_secrets(tmp_path: Path) -> None:
    url = "postgresql://jo:topsecret@h/d"
    result = run(tmp_path, "config", DATABASE_URL=url, HTTP_PORT="5")
    assert "topsecret" not in result.stdout
    (tmp_path / ".env").write_text(result.stdout)
    again = json.loads(run(tmp_path, "config", "--json").stdout)
    assert (again["CUSTOMERS_HTTP_PORT"], again["CUSTOMERS_DATABASE_URL"]) == (5, None)


@pytest.mark.parametrize("command", ["migrate", "api", "relay", "config"])
def test_a_malformed_database_url_is_one_sentence_without_the_password(
    tmp_path: Path, command: str
) -> None:
    url = "postgresql://jo:top/secret@127.0.0.1/d"
    result = run(tmp_path, command, DATABASE_URL=url)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("CUSTOMERS_DATABASE_URL is wrong: its port is not a number")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_a_variable_that_the_driver_cannot_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "many")
    result = run(tmp_path, "migrate", DATABASE_URL="postgresql://jo@127.0.0.1/d")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("CUSTOMERS_DATABASE_URL, a variable PG…")
    assert result.stderr.count("\n") == 1


def test_without_a_database_it_is_one_sentence(tmp_path: Path) -> None:
    result = run(tmp_path, "migrate", DATABASE_URL="postgresql://postgres@127.0.0.1:1/d")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "The database cannot be reached.\n"


async def test_migrate_can_be_repeated(database: str, tmp_path: Path) -> None:
    first = run(tmp_path, "migrate", DATABASE_URL=database)
    assert first.returncode == 0, first.stderr
    key = (tmp_path / "master.key").read_bytes()
    second = run(tmp_path, "migrate", "--json", DATABASE_URL=database)
    nothing: list[object] = []
    assert json.loads(second.stdout) == dict.fromkeys(
        ("migrations", "projections", "topics", "faults"), nothing
    )
    assert (tmp_path / "master.key").read_bytes() == key
    tenants = run(tmp_path, "tenant", "list", "--json", DATABASE_URL=database)
    assert [(each["tenant"], each["currency"]) for each in json.loads(tenants.stdout)] == [
        ("default", "USD")
    ]


async def test_a_token_is_made_listed_and_revoked(database: str, tmp_path: Path) -> None:
    run(tmp_path, "migrate", DATABASE_URL=database)
    scopes = ("--tenant", "acme", "--scopes", "events:read,customers:read")
    made = run(tmp_path, "token", "create", *scopes, "--expires", "90d", DATABASE_URL=database)
    assert made.returncode == 0
    assert TOKEN.fullmatch(made.stdout)
    assert made.stdout.strip() not in made.stderr
    (listed,) = json.loads(run(tmp_path, "token", "list", "--json", DATABASE_URL=database).stdout)
    assert (listed["tenant"], listed["scopes"]) == ("acme", ["customers:read", "events:read"])
    assert listed["expiresAt"] > listed["createdAt"]
    assert listed["id"] in made.stderr
    revoked = run(tmp_path, "token", "revoke", made.stdout.strip(), DATABASE_URL=database)
    assert (revoked.returncode, revoked.stdout) == (0, "")
    (listed,) = json.loads(run(tmp_path, "token", "list", "--json", DATABASE_URL=database).stdout)
    assert listed["revokedAt"] is not None
    assert run(tmp_path, "token", "revoke", "tok_nobody", DATABASE_URL=database).returncode == 1


async def test_a_token_as_json_has_its_id(database: str, tmp_path: Path) -> None:
    run(tmp_path, "migrate", DATABASE_URL=database)
    arguments = ("--tenant", "acme", "--scopes", "admin", "--json")
    made = run(tmp_path, "token", "create", *arguments, DATABASE_URL=database)
    document = json.loads(made.stdout)
    assert document["id"].startswith("tok_")
    revoked = run(tmp_path, "token", "revoke", document["id"], "--json", DATABASE_URL=database)
    assert json.loads(revoked.stdout) == {"id": document["id"], "revoked": True}


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--scopes", "customers:fly", "scopes are some of: customers:read"),
        ("--expires", "9y", "give a whole number and a unit"),
        ("--expires", "0s", "a token expires after a moment"),
        ("--tenant", "a b", "a tenant's name is"),
    ],
)
async def test_a_token_that_makes_no_sense_is_one_sentence(
    option: str, value: str, sentence: str, database: str, tmp_path: Path
) -> None:
    run(tmp_path, "migrate", DATABASE_URL=database)
    options = {"--tenant": "acme", "--scopes": "admin", option: value}
    words = [word for pair in options.items() for word in pair]
    result = run(tmp_path, "token", "create", *words, DATABASE_URL=database)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


async def test_a_tenants_currency_may_change_while_it_has_no_orders(
    database: str, tmp_path: Path
) -> None:
    run(tmp_path, "migrate", DATABASE_URL=database, DEFAULT_CURRENCY="CHF")
    for arguments, currency, is_new in (
        (("acme",), "CHF", True),
        (("acme", "--currency", "EUR"), "EUR", False),
        (("acme",), "EUR", False),
    ):
        result = run(
            tmp_path,
            *("tenant", "create", *arguments, "--json"),
            DATABASE_URL=database,
            DEFAULT_CURRENCY="CHF",
        )
        assert json.loads(result.stdout) == {
            "tenant": "acme", "currency": currency, "created": is_new
        }  # fmt: skip
    wrong = run(tmp_path, "tenant", "create", "x", "--currency", "XYZ", DATABASE_URL=database)
    assert wrong.returncode == 2


async def test_without_the_master_key_operators_are_told(database: str, tmp_path: Path) -> None:
    run(tmp_path, "migrate", DATABASE_URL=database)
    create = ("token", "create", "--tenant", "acme", "--scopes", "admin")
    assert run(tmp_path, *create, DATABASE_URL=database).returncode == 0
    (tmp_path / "master.key").unlink()
    result = run(tmp_path, *create, DATABASE_URL=database)
    assert (result.returncode, result.stdout) == (2, "")
    assert "There is no master key in" in result.stderr
    again = run(tmp_path, "migrate", DATABASE_URL=database)
    assert again.returncode == 2
    assert "would make what is stored unreadable" in again.stderr
    assert not (tmp_path / "master.key").exists()
