"""The servers as fixtures, for every test about the SQL store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sql.making import Place


@pytest.fixture(scope="session", params=["postgresql", "mariadb"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A schema or database of our own for the run, dropped afterwards."""
    found = Place(request.param)
    found.make()
    try:
        yield found
    finally:
        found.drop()
