"""A primary with a replica, watched by sentinels of our own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.redis.server import Server, until

SERVICE = "shop"


class Watched:
    """Started by ``start``, ended by ``close``.

    Args:
        directory: An existing directory for all it writes.
        sentinels: How many watch; a majority of them decides.
    """

    def __init__(self, directory: Path, sentinels: int = 3) -> None:
        self.primary, self.replica = Server(directory), Server(directory)
        self.sentinels = [Server(directory, sentinel=True) for _ in range(sentinels)]
        self._quorum = sentinels // 2 + 1

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{SERVICE}"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self.replica.ask("REPLICAOF", "127.0.0.1", self.primary.port)
        until(lambda: self.replica.info("replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            sentinel.start()
            sentinel.ask("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", self.primary.port, self._quorum)
            for option, value in (("down-after-milliseconds", 500), ("failover-timeout", 2000)):
                sentinel.ask("SENTINEL", "SET", SERVICE, option, value)
        for sentinel in self.sentinels:
            until(partial(self._knows_all, sentinel))

    def _knows_all(self, sentinel: Server) -> bool:
        found = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        said = dict(zip(found[::2], found[1::2], strict=True)) if isinstance(found, list) else found
        text = {_text(name): _text(value) for name, value in said.items()}
        return text["num-other-sentinels"] == str(len(self.sentinels) - 1) and text["num-slaves"] == "1"

    def taken_over(self) -> bool:
        """Whether the replica is the primary now, and every sentinel says so."""
        said = {int(each.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) for each in self.sentinels}
        return said == {self.replica.port} and self.replica.info("replication")["role"] == "master"

    def calm(self) -> None:
        """Let its sentinels take nobody for dead any more who is only slow on a busy machine."""
        for sentinel in self.sentinels:
            sentinel.ask("SENTINEL", "SET", SERVICE, "down-after-milliseconds", 60_000)

    def close(self) -> None:
        for server in (self.primary, self.replica, *self.sentinels):
            server.close()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
