"""How much the tests of this folder do: a little, or with ``BROKERKIT_TEST_FULL=1`` as much as counts."""

from __future__ import annotations

import os

FULL = bool(os.environ.get("BROKERKIT_TEST_FULL"))


def sized(little: int, full: int) -> int:
    """One of both."""
    return full if FULL else little
