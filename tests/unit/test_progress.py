"""What a long command tells where nobody sits at a terminal."""

from __future__ import annotations

import pytest

from service.cli.progress import progress


def test_nothing_is_foretold_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.cli.progress.LINE_SECONDS", 0.0)
    with progress() as told:
        told.begin("filling: events", 1_000)
        told.advance(0)
        told.advance(500)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "filling: events: 0 of 1,000"
    assert second.startswith("filling: events: 500 of 1,000, ")
    assert second.endswith(" s left")
