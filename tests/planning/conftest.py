from pathlib import Path
from typing import Any

import pytest

from brokerkit.transports.rabbitmq import standins
from tests.planning.brokers import Place, place_of


@pytest.fixture
def place(request: Any, tmp_path: Path) -> Place:
    """A broker for this test alone."""
    return place_of(request.param, tmp_path)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders of these tests look more often, so that they need not be waited for so long."""
    monkeypatch.setattr(standins, "EVERY", 0.1)
    monkeypatch.setattr(standins, "FRESH", 0.2)
    monkeypatch.setattr(standins, "SETTLED", 0.7)
