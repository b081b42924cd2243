"""`customers log`: a new epoch for a log that was restored, and the epochs there were.

Invariant: the log's new name, the read model's place under it and the relay's forgotten progress
are one transaction; whatever a crash leaves afterwards is refused by the roles, and never mixed up.
"""

from __future__ import annotations

from projections.checkpoint import CUSTOMERS, follow_epoch
from projections.derived import made_tables
from service.cli.connections import kafka_config, migrated_database
from service.cli.output import Failed, Json, moment, print_json, print_table, say
from service.epochs import NewEpoch, RolesAtWork, begin_epoch, check_nobody_works, past_epochs
from service.errors import ConfigurationError, Unavailable
from service.event_log import EventLog
from service.kafka import KafkaConfig, Topics
from service.postgres import Postgres
from service.settings import Settings


async def new_epoch(
    settings: Settings, *, is_forced: bool, deletes_topics: bool, as_json: bool
) -> None:
    """Raises Failed where a role is at work, or where log and read model are of two backups; and
    where Kafka did not let go of a topic, which is then left to the operator."""
    servers = settings.kafka_bootstrap_servers
    if deletes_topics and servers is None:
        raise Failed("--delete-topics needs CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS.")
    config = kafka_config(settings, servers or "")
    topics = _published_topics(config)
    async with migrated_database(settings) as postgres:
        if not is_forced:
            await _check_nobody_works(postgres)
        if deletes_topics:
            await _check_kafka(config)
        begun = await _begin(postgres)
    say(f"The log's epoch is {begun.epoch}. That of before ended at position {begun.position}.")
    by_hand = f"Delete the topics {', '.join(topics)}, run `customers migrate`, start the roles."
    if deletes_topics:
        await _make_anew(config, by_hand)
        say(f"Kafka: made anew {', '.join(topics)}. Start the roles.")
    else:
        say(by_hand)
    if as_json:
        print_json(_document(begun, topics if deletes_topics else []))


async def list_epochs(settings: Settings, *, as_json: bool) -> None:
    """Those that ended, and the present one last."""
    async with migrated_database(settings) as postgres:
        past = await past_epochs(postgres)
        head = await EventLog(postgres).head()
    if as_json:
        ended: list[Json] = [
            {
                "epoch": each.epoch,
                "endedAtPosition": each.ended_at_position,
                "endedAt": moment(each.ended_at),
            }
            for each in past
        ]
        print_json({"epoch": head.epoch, "position": head.position, "ended": ended})
        return
    rows = [[each.epoch, str(each.ended_at_position), moment(each.ended_at)] for each in past]
    print_table(["EPOCH", "LAST POSITION", "ENDED"], [*rows, [head.epoch, str(head.position), ""]])


async def _check_nobody_works(postgres: Postgres) -> None:
    try:
        await check_nobody_works(postgres)
    except RolesAtWork as error:
        raise Failed(str(error)) from error


async def _begin(postgres: Postgres) -> NewEpoch:
    """One transaction. The topic of states keeps the old name: what it holds is refused, until it
    was made anew and is written whole."""
    async with postgres.transaction() as transaction:
        begun = await begin_epoch(transaction)
        added = [each.projection for each in await made_tables(transaction)]
        for projection in (CUSTOMERS, *added):
            shown = await follow_epoch(transaction, projection, begun.ended, begun.epoch)
            if shown > begun.position:
                raise Failed(
                    f"The read model shows position {shown}, and the log ends at {begun.position}:"
                    " they are not of one backup. Restore the database whole. Nothing was changed."
                )
    return begun


async def _check_kafka(config: KafkaConfig) -> None:
    """Nothing is changed where Kafka does not answer, or not about our topics. Raises Unavailable.

    Whether it lets us delete them, only the deletion tells.
    """
    async with Topics.connect(config) as topics:
        for name in _published_topics(config):
            await topics.describe(name)


async def _make_anew(config: KafkaConfig, by_hand: str) -> None:
    """Raises Failed. The epoch has begun by now, and is not begun again for Kafka's sake."""
    try:
        async with Topics.connect(config) as topics:
            for name in _published_topics(config):
                await topics.delete(name)
            await topics.create_missing(config.topics)
    except (Unavailable, ConfigurationError) as error:
        reason = error.detail if isinstance(error, Unavailable) else str(error)
        reason = reason.rstrip(".")
        raise Failed(f"{reason}. The epoch has begun all the same, so go on: {by_hand}") from error


def _published_topics(config: KafkaConfig) -> list[str]:
    """What was published from the log of before. Orders and dead letters are nobody's epoch."""
    return [config.events_topic.name, config.state_topic.name, config.progress_topic.name]


def _document(begun: NewEpoch, made_anew: list[str]) -> Json:
    return {
        "epoch": begun.epoch,
        "ended": begun.ended,
        "endedAtPosition": begun.position,
        "topicsMadeAnew": [*made_anew],
    }
