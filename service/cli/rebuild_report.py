"""What `customers rebuild` found where it compared, for people and for scripts.

Invariant: customers are named by their ids; what is stored of them is never quoted.
"""

from __future__ import annotations

from projections.rebuild import Build, Comparison
from service.cli.output import Json, print_table, say


def print_differences(compared: Comparison) -> None:
    rows = [
        [
            *(str(odd.number), f"{odd.old_count:,}", f"{odd.new_count:,}"),
            *(f"{odd.different:,}", ", ".join(odd.named)),
        ]
        for odd in compared.odd
    ]
    if rows:
        print_table(["BUCKET", "READ", "BUILT", "DIFFERENT", "CUSTOMERS"], rows)


def tell(build: Build, compared: Comparison) -> None:
    for finding in compared.own.listed:
        say(f"Version {build.version} contradicts itself: {finding.detail}.")
    say(
        f"Compared {compared.customers:,} customers in {compared.buckets:,} buckets:"
        f" {compared.different:,} differ; {compared.parked:,} are parked in what is read, and"
        f" {compared.moving:,} were changed all the while."
    )


def document(
    build: Build,
    compared: Comparison,
    is_gone_over: bool,
    events: int,
    rate: int | None,
    seconds: float,
) -> Json:
    odd: list[Json] = [
        {
            "number": each.number,
            "after": each.after,
            "until": each.until,
            "countRead": each.old_count,
            "countBuilt": each.new_count,
            "checksumRead": each.old_checksum,
            "checksumBuilt": each.new_checksum,
            "different": each.different,
            "customers": [*each.named],
        }
        for each in compared.odd
    ]
    return {
        "version": build.version,
        "isRead": is_gone_over,
        "events": events,
        "eventsPerSecond": rate,
        "bucketsCompared": compared.buckets,
        "customersCompared": compared.customers,
        "customersDifferent": compared.different,
        "customersParked": compared.parked,
        "customersMoving": compared.moving,
        "contradictions": compared.own.total,
        "buckets": odd,
        "seconds": round(seconds, 3),
    }
