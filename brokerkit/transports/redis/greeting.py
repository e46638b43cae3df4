"""What is asked of a server before anything else, and what it says of how safe messages are there."""

from __future__ import annotations

import logging
from typing import NamedTuple

import hiredis

from brokerkit.errors import ConnectFailed
from brokerkit.transports.redis.errors import while_connecting
from brokerkit.transports.redis.link import Link
from brokerkit.transports.redis.url import Durability, Kind

_log = logging.getLogger("brokerkit")

OLDEST = (7, 0)
"""Scripts begin with ``#!lua``, and XAUTOCLAIM drops what was deleted, from here on."""

TRUTHFUL = (8, 0)
"""With ``appendfsync everysec`` Redis 7.2 and 7.4, and Valkey up to 9.1, answer WAITAOF too early: see
https://github.com/redis/redis/pull/13793."""


class Server(NamedTuple):
    """A server as it introduces itself.

    Args:
        name: "redis" or "valkey".
        version: As its own edition counts.
        policy: What it does at its memory's end, "" where it does not say.
        appendonly: Whether it keeps a log of all writes.
        saves: Whether it takes snapshots.
        fsync: When it brings that log to the disk, as ``appendfsync`` says; "" where it may not be asked.
    """

    name: str
    version: tuple[int, ...]
    policy: str = ""
    appendonly: bool = False
    saves: bool = False
    fsync: str = ""

    def __str__(self) -> str:
        return self.named(cluster=False)

    def named(self, *, cluster: bool) -> str:
        """Its name and version, ``redis 8.0.6`` or ``redis+cluster 8.0.6``."""
        return f"{self.name}{'+cluster' if cluster else ''} {'.'.join(map(str, self.version))}"


async def greet(link: Link, where: str, kind: Kind) -> Server:
    """Look who is there.

    Raises:
        ConnectFailed: It is too old, a replica, or not to be used by us.
    """
    answer = await link.send("INFO")
    if isinstance(answer, hiredis.ReplyError):
        raise while_connecting(where, answer)
    said = dict(line.partition(":")[::2] for line in answer.decode().splitlines() if ":" in line)
    if _version(said.get("redis_version", "0")) < OLDEST:
        raise ConnectFailed(
            f"the Redis server {where} is version {said.get('redis_version')}; 7.0 is the oldest usable"
        )
    if said.get("loading") == "1":
        raise ConnectFailed(f"the Redis server {where} is loading its data; try again soon")
    if said.get("role") == "slave" and kind is not Kind.CLUSTER:  # there it tells who has the keys
        raise ConnectFailed(f"the Redis server {where} is a replica that cannot be written; connect to its primary")
    if (said.get("cluster_enabled") == "1") is not (kind is Kind.CLUSTER):
        what = (
            "no part of a cluster; use redis://" if kind is Kind.CLUSTER else "part of a cluster; use redis+cluster://"
        )
        raise ConnectFailed(f"the Redis server {where} is {what}")
    name = "valkey" if "valkey_version" in said else "redis"
    saves, fsync = await _settings(link)
    return Server(
        name,
        _version(said.get("valkey_version") or said["redis_version"]),
        said.get("maxmemory_policy", ""),
        said.get("aof_enabled") == "1",
        saves,
        fsync,
    )


async def _settings(link: Link) -> tuple[bool, str]:
    """Whether it takes snapshots, and when it brings its log to the disk; as far as it may be asked."""
    answer = await link.send("CONFIG", "GET", "save", "appendfsync")
    if isinstance(answer, hiredis.ReplyError):
        return True, ""
    return bool(answer.get(b"save")), answer.get(b"appendfsync", b"").decode()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdecimal())


def check(server: Server, durability: Durability, where: str) -> None:
    """Refuse a durability that the server cannot give.

    Raises:
        ConnectFailed: Says what to change.
    """
    if durability.fsync < 0:
        return
    if server.name == "redis" and server.version < (7, 2):
        raise ConnectFailed(f"the Redis server {where} is {server}; durability=fsync needs 7.2 (WAITAOF)")
    if not server.appendonly:
        raise ConnectFailed(
            f"the Redis server {where} keeps no log on disk, which durability=fsync waits for; set appendonly yes"
        )
    if server.fsync == "no":
        raise ConnectFailed(
            f"the Redis server {where} leaves it to its host when its log reaches the disk, so that durability=fsync "
            "would wait in vain; set appendfsync everysec, or always"
        )
    if server.fsync != "always" and not (server.name == "redis" and server.version >= TRUTHFUL):
        raise ConnectFailed(
            f"the Redis server {where} is {server}, which says that its log is on the disk before it is, unless CONFIG "
            "GET appendfsync says always; set that, or use Redis 8 for durability=fsync"
        )


def warn(server: Server, where: str) -> None:
    """Say what can be lost there."""
    if server.policy not in ("noeviction", ""):
        _log.warning(
            "the Redis server %s evicts keys when its memory is full (maxmemory-policy %s): queues and messages can "
            "vanish; set maxmemory-policy noeviction",
            where,
            server.policy,
        )
    if not server.appendonly:
        lost = "what was written since the last snapshot" if server.saves else "everything"
        _log.warning(
            "the Redis server %s keeps no log of its writes: when it ends, %s is lost; set appendonly yes",
            where,
            lost,
        )
    elif server.fsync == "no":
        _log.warning(
            "the Redis server %s leaves it to its host when its writes reach the disk (appendfsync no): when the host "
            "dies, half a minute of them can be lost; set appendfsync everysec, or always",
            where,
        )
