"""What of an export is still to be made, whatever files are there."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from service.log_export import ExportedFile, Manifest
from service.log_export.manifest import CHUNK_POSITIONS
from service.log_export.rows import plain


def a_file(first: int, last: int) -> ExportedFile:
    return ExportedFile(
        name=f"events-{first}-{last}.jsonl",
        from_position=first,
        to_position=last,
        events=last - first + 1,
        damaged=0,
        first_position=first,
        last_position=last,
        bytes=10,
        sha256="0",
    )


def a_manifest(first: int, last: int, *files: tuple[int, int]) -> Manifest:
    return Manifest(
        format="jsonl",
        epoch="e",
        from_position=first,
        to_position=last,
        tenant=None,
        personal_data=True,
        created_at=datetime.now(UTC),
    ).with_files([a_file(*each) for each in files])


def test_all_of_it_in_pieces() -> None:
    last = 2 * CHUNK_POSITIONS + 5
    assert list(a_manifest(3, last).missing()) == [
        (3, CHUNK_POSITIONS + 2),
        (CHUNK_POSITIONS + 3, 2 * CHUNK_POSITIONS + 2),
        (2 * CHUNK_POSITIONS + 3, last),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_files_and_what_is_missing_are_the_whole(seed: int) -> None:
    random = Random(seed)
    first, last = random.randint(1, 9), random.randint(50, 400)
    cuts = sorted(random.sample(range(first, last), random.randint(1, 8)))
    ranges = list(zip([first, *(cut + 1 for cut in cuts)], [*cuts, last], strict=True))
    there = random.sample(ranges, random.randint(0, len(ranges)))
    missing = list(a_manifest(first, last, *there).missing())
    covered = [position for a, b in [*there, *missing] for position in range(a, b + 1)]
    assert sorted(covered) == list(range(first, last + 1))


def test_sums_and_order_follow_from_the_files() -> None:
    manifest = a_manifest(1, 9, (7, 9), (1, 4))
    assert [each.from_position for each in manifest.files] == [1, 7]
    assert (manifest.events, manifest.bytes) == (7, 20)
    assert manifest.completed(datetime.now(UTC)).with_files([]).completed_at is None


@pytest.mark.parametrize("text", ["", "a", "a\tb", "\n\r\b\f\v", "\\", "\\n", 'é"\\\\t'])
def test_what_copy_escapes_is_read_again(text: str) -> None:
    escapes = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\"}
    copied = "".join(f"\\{escapes[each]}" if each in escapes else each for each in text)
    assert plain(copied) == text
