"""The program under test keeps what it has seen in a list."""

import pytest

from tests.testing.shop import seen


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """What the program has seen before is forgotten."""
    seen.clear()
