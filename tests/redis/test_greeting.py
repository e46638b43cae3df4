"""What is said at the start of how safe messages are on a Redis server."""

from __future__ import annotations

import logging

import pytest

from brokerkit.errors import ConnectFailed
from brokerkit.transports.redis import RedisTransport
from brokerkit.transports.redis.greeting import Server, check
from brokerkit.transports.redis.url import Durability
from tests.redis.servers import Serve

KEPT = {"appendonly": "yes"}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({}, "keeps no log of its writes: when it ends, everything is lost; set appendonly yes"),
        ({"save": "3600 1"}, "when it ends, what was written since the last snapshot is lost; set appendonly yes"),
        ({**KEPT, "appendfsync": "always"}, ""),
        ({**KEPT, "appendfsync": "everysec"}, ""),
        ({**KEPT, "appendfsync": "no"}, "half a minute of them can be lost; set appendfsync everysec, or always"),
        ({**KEPT, "maxmemory_policy": "allkeys-lru"}, "can vanish; set maxmemory-policy noeviction"),
        ({"rename_command": "CONFIG ''"}, "what was written since the last snapshot is lost"),
        ({**KEPT, "rename_command": "CONFIG ''"}, ""),
    ],
)
async def test_a_server_that_can_lose_messages_is_warned_of(
    settings: dict[str, str], warning: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**settings)
    with caplog.at_level(logging.WARNING, "brokerkit"):
        async with RedisTransport(server.url):
            pass
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == bool(warning)
    assert all(warning in text and str(server.port) in text for text in said)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (Server("redis", (7, 0, 15), appendonly=True, fsync="always"), r"needs 7\.2 \(WAITAOF\)"),
        (Server("redis", (8, 0, 6)), "keeps no log on disk, .*; set appendonly yes"),
        (Server("redis", (8, 0, 6), appendonly=True, fsync="no"), "wait in vain; set appendfsync everysec, or always"),
        (Server("redis", (7, 4, 2), appendonly=True, fsync="everysec"), "before it is, unless .* or use Redis 8"),
        (Server("valkey", (9, 1, 2), appendonly=True, fsync="everysec"), "before it is, unless .* or use Redis 8"),
        (Server("valkey", (9, 1, 2), appendonly=True), "before it is, unless .* or use Redis 8"),
    ],
    ids=str,
)
def test_a_server_that_cannot_tell_what_is_on_its_disk_is_refused(server: Server, why: str) -> None:
    with pytest.raises(ConnectFailed, match=why):
        check(server, Durability(fsync=0), "host:6379")
    check(server, Durability(replicas=1), "host:6379")


@pytest.mark.parametrize(
    "server",
    [
        Server("redis", (8, 0, 6), appendonly=True, fsync="everysec"),
        Server("redis", (8, 0, 6), appendonly=True),
        Server("redis", (7, 2, 0), appendonly=True, fsync="always"),
        Server("valkey", (9, 1, 2), appendonly=True, fsync="always"),
    ],
    ids=str,
)
def test_a_server_that_can_tell_is_taken(server: Server) -> None:
    check(server, Durability(fsync=1), "host:6379")


@pytest.mark.broker
async def test_a_durability_that_the_server_cannot_give_is_refused_at_the_start(serve: Serve) -> None:
    server = serve()
    with pytest.raises(ConnectFailed, match=str(server.port)):
        async with RedisTransport(f"{server.url}?durability=fsync:0"):
            pass
