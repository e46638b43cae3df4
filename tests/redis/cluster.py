"""A Redis Cluster of our own: some servers on one machine. Its slots can be moved, its primaries killed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import redis

from tests.ports import free_port
from tests.redis.server import Server, until

SLOTS = 16384


class Cluster:
    """A cluster; started by ``start``, ended by ``close``. It takes about a second to start.

    Args:
        directory: An existing directory for all it writes.
        primaries: Servers that share the slots.
        replicas: Replicas of each.
    """

    def __init__(self, directory: Path, primaries: int = 3, replicas: int = 0) -> None:
        self.primaries = [self._server(directory) for _ in range(primaries)]
        self.replicas = [self._server(directory) for _ in range(primaries * replicas)]

    @staticmethod
    def _server(directory: Path) -> Server:
        settings = {
            "cluster-enabled": "yes",
            "cluster-port": str(free_port()),
            "cluster-config-file": f"nodes-{free_port()}.conf",
            "cluster-node-timeout": "1000",
        }
        return Server(directory, settings)

    @property
    def servers(self) -> list[Server]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """All primaries that there were, so that any may be gone."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.primaries)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for one, other in itertools.combinations(self.servers, 2):  # all of them: gossip takes its time
            one.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.setting("cluster-port"))
        share = SLOTS // len(self.primaries)
        for number, server in enumerate(self.primaries):
            last = SLOTS - 1 if server is self.primaries[-1] else (number + 1) * share - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        for number, server in enumerate(self.replicas):
            primary = self.identity(self.primaries[number % len(self.primaries)])
            until(partial(_knows, server, primary))
            server.ask("CLUSTER", "REPLICATE", primary)
        until(lambda: all(self._agrees(server) for server in self.servers))

    def _agrees(self, server: Server) -> bool:
        known = len(_text(server, "CLUSTER", "NODES").strip().splitlines())
        follows = server not in self.replicas or server.info("replication")["master_link_status"] == "up"
        return "cluster_state:ok" in _text(server, "CLUSTER", "INFO") and known == len(self.servers) and follows

    def identity(self, server: Server) -> str:
        """By which the servers know one of them."""
        return _text(server, "CLUSTER", "MYID")

    def owner(self, key: str) -> Server:
        """The server that has a key."""
        slot = self.slot(key)
        for server in self.servers:
            with contextlib.suppress(redis.RedisError):
                for first, last, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(each for each in self.servers if each.port == port)
        raise LookupError(f"nobody has {key}")

    def slot(self, key: str) -> int:
        """The slot of a key."""
        return int(self.primaries[0].ask("CLUSTER", "KEYSLOT", key))

    def move(
        self, key: str, *, midway: Callable[[], None] = lambda: None, untold: Callable[[], None] = lambda: None
    ) -> None:
        """Move the slot of a key to another primary, key by key as an administrator does; something may be done when
        half of the keys have moved, and when all have, but nobody has been told."""
        slot, source = self.slot(key), self.owner(key)
        target = next(server for server in self.primaries if server is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
        for number, each in enumerate(keys):
            if number == (len(keys) + 1) // 2:
                midway()
            source.ask("MIGRATE", "127.0.0.1", target.port, each, 0, 5000)
        untold()
        for server in (target, source, *self.primaries):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", self.identity(target))

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def keys(self) -> set[str]:
        """Every key there is."""
        return set[str]().union(*(server.keys() for server in self.servers))


def _text(server: Server, *command: str) -> str:
    answer: bytes = server.ask(*command)
    return answer.decode()


def _knows(server: Server, identity: str) -> bool:
    return identity in _text(server, "CLUSTER", "NODES")
