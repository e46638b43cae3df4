"""Which brokers the tests use: named by the environment, else on the usual local port, else in a container.

``BROKERKIT_TEST_RABBITMQ=amqp://…`` names the broker of an edition; an empty value means that there is none.
``BROKERKIT_TEST_REQUIRE="rabbitmq redis"`` lists editions without which the tests fail instead of being skipped.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

import msgspec
import pytest


class Edition(msgspec.Struct, frozen=True):
    """One broker in one range of versions.

    Args:
        name: What the environment calls it.
        local: Where it listens when somebody has simply installed it; "" when that would be another edition.
        container: Starts it in a container and returns its URL.
    """

    name: str
    local: str
    container: Callable[[], str]

    @property
    def variable(self) -> str:
        """The variable of the environment that names its URL."""
        return "BROKERKIT_TEST_" + self.name.upper().replace("-", "_")


def _container(image: str, url: str, port: int, **environment: str) -> Callable[[], str]:
    def start() -> str:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(image).with_exposed_ports(port).with_envs(**environment).start()
        found = url.format(container.get_container_host_ip(), container.get_exposed_port(port))
        deadline = time.monotonic() + 60
        while not _answers(found) and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    return start


def _rabbitmq(image: str) -> Callable[[], str]:
    return _container(image, "amqp://guest:guest@{}:{}/", 5672)


def _postgresql() -> str:
    url = "postgresql://postgres@{}:{}/test"
    return _container("postgres:16", url, 5432, POSTGRES_DB="test", POSTGRES_HOST_AUTH_METHOD="trust")()


def _mariadb() -> str:
    settings = {"MARIADB_DATABASE": "test", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "1"}
    return _container("mariadb:11.4", "mysql://root@{}:{}/test", 3306, **settings)()


def _redis(image: str) -> Callable[[], str]:
    return _container(image, "redis://{}:{}/0", 6379)


EDITIONS = {
    edition.name: edition
    for edition in (
        Edition("rabbitmq", "amqp://guest:guest@127.0.0.1:5672/", _rabbitmq("rabbitmq:3.13")),
        Edition("rabbitmq-newer", "", _rabbitmq("rabbitmq:4.3")),
        Edition("redis", "redis://127.0.0.1:6379/0", _redis("redis:7.0")),
        Edition("redis-newer", "", _redis("redis:8")),
        Edition("valkey", "", _redis("valkey/valkey:9")),
        Edition("postgresql", "postgresql://postgres@127.0.0.1:5432/test", _postgresql),
        Edition("mariadb", "mysql://root@127.0.0.1:3306/test", _mariadb),
    )
}


def broker_url(name: str) -> str:
    """The URL of an edition's broker. Without one the test is skipped, or fails where the edition is required."""
    url, why = _found(name)
    if url:
        return url
    text = f"no {name} broker: {why}; set {EDITIONS[name].variable}"
    if name in os.environ.get("BROKERKIT_TEST_REQUIRE", "").split():
        pytest.fail(text)
    pytest.skip(text)


@cache
def _found(name: str) -> tuple[str, str]:
    edition = EDITIONS[name]
    named = os.environ.get(edition.variable)
    if named == "":
        return "", f"{edition.variable} is empty"
    if named is not None:
        return (named, "") if _answers(named) else ("", f"{edition.variable}={named!r} does not answer")
    if edition.local and _answers(edition.local):
        return edition.local, ""
    if not _docker():
        return "", "none listens locally and there is no Docker"
    try:
        return edition.container(), ""
    except Exception as error:  # whatever is wrong with Docker here
        return "", f"none listens locally and no container starts ({type(error).__name__}: {error})"


def _docker() -> bool:
    """True when an engine answers; its client leaves a socket open, and a warning behind, when none does."""
    place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not place.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as engine:
        return engine.connect_ex(place.removeprefix("unix://")) == 0


_GREETINGS = {
    "amqp": b"AMQP\x00\x00\x09\x01",
    "redis": b"PING\r\n",
    "postgresql": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # SSLRequest: it speaks only when it is asked
    "mysql": b"",  # it greets first
}


def _answers(url: str) -> bool:
    """True when the server itself says something, not only the proxy before a container that still starts."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=2) as connection:
            connection.sendall(_GREETINGS[parts.scheme])
            return bool(connection.recv(1))
    except OSError:
        return False
