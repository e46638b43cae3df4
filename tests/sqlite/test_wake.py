"""How processes wake each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokerkit.transports.sqlite.wake import EVERYTHING, REPLIES, SIGNALS, Bell


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    bell = Bell(tmp_path / "broker.db")
    bell.open()
    yield bell
    bell.close()


def test_a_ring_says_what_to_look_for(bell: Bell) -> None:
    assert bell.ring(bell.address, REPLIES)
    assert bell.hush() == REPLIES


def test_after_several_rings_everything_is_looked_for(bell: Bell) -> None:
    # The buffer may have been full: what one more would have said is not known.
    bell.ring(bell.address, REPLIES)
    bell.ring(bell.address, SIGNALS)
    assert bell.hush() == EVERYTHING


def test_nobody_rings_at_one_that_has_ended(bell: Bell) -> None:
    bell.close(tidy=False)
    other = Bell(Path(bell.address))
    other.open()
    assert not other.ring(bell.address, REPLIES)
    other.close()
