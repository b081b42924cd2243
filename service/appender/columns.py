"""The arguments of log.append: a batch as columns.

Invariant: of members that share a stream, an e-mail address or a key, all but the first are marked
as repeats, so that one statement never touches a row twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.appender.queue import Member
from service.vault import Vault


def columns(batch: Sequence[Member], vault: Vault) -> tuple[object, ...]:
    """The arguments of log.append: an array for each field of the members, then of the events;
    then which key has wrapped, where one has."""
    members: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    seen: set[tuple[str, str, str]] = set()
    for number, member in enumerate(batch, start=1):
        append = member.append
        key = append.key
        marks: list[tuple[str, str, str]] = [("stream", append.tenant, append.customer_id)]
        claim = _claim(vault, append.tenant, append.claim_email)
        release = _claim(vault, append.tenant, append.release_email)
        marks.extend(("email", append.tenant, each) for each in (claim, release) if each)
        if key is not None:
            marks.append(("key", append.tenant, key.key))
        members.append(
            (
                append.tenant,
                append.customer_id,
                append.expected_version,
                len(append.events),
                append.closes_stream,
                claim,
                release,
                key.key if key else None,
                key.fingerprint if key else None,
                key.status if key else None,
                key.subject if key else None,
                member.meta,
                member.new_key and vault.wrap(append.customer_id, member.new_key),
                not seen.isdisjoint(marks),
            )
        )
        seen.update(marks)
        rows = zip(member.ids, member.events, strict=True)
        for number_in_member, (event_key, stored) in enumerate(rows, start=1):
            events.append((number, number_in_member, event_key, *stored))
    event_columns = zip(*events, strict=True) if events else ((),) * 7
    columns = [list(column) for column in (*zip(*members, strict=True), *event_columns)]
    wrapping = vault.wrapping_id if any(member.new_key for member in batch) else None
    return (*columns, wrapping)


def _claim(vault: Vault, tenant: str, email: str | None) -> str | None:
    return None if email is None else vault.claim(tenant, email)
