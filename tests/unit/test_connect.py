"""From a URL to an adapter."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

import pytest

from brokerkit import App, ConfigurationError, connect
from brokerkit.connect import Adapter, redacted


def test_an_extra_that_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(*_: object) -> Any:
        raise ModuleNotFoundError("No module named 'aio_pika'", name="aio_pika")

    known = cast("MutableMapping[str, Adapter[Any]]", connect.TRANSPORTS)
    monkeypatch.setitem(known, "amqp", Adapter(make, "rabbitmq"))
    with pytest.raises(ConfigurationError) as raised:
        App("amqp://guest:secret@localhost/")
    assert str(raised.value) == "amqp:// needs the package 'aio_pika': pip install 'brokerkit[rabbitmq]'"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:secret@host:5672/v", "amqp://guest:***@host:5672/v"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("amqp://user:pa@ss@host/", "amqp://user:***@host/"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
        (
            "amqp://host/?management=http://me:secret@api&heartbeat=5",
            "amqp://host/?management=http://me:***@api&heartbeat=5",
        ),
        (
            "amqp://me:secret@host/?management=http%3A%2F%2Fme%3Asecret%40api",
            "amqp://me:***@host/?management=http://me:***@api",
        ),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_an_unknown_scheme_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="no broker is known") as raised:
        App("kafka://me:secret@host/")
    assert "secret" not in str(raised.value)
