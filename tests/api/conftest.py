"""Every test here that asks for ``url`` runs on each broker that needs nothing installed."""

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty broker."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'api.db'}"
