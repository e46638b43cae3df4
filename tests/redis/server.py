"""A Redis server of our own: started from the machine's ``redis-server``, to be frozen, starved, killed and emptied."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_port

_SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "enable-debug-command": "local",
    "maxmemory-policy": "noeviction",
    "latency-tracking": "no",
    "repl-diskless-sync-delay": "0",
}


class ServerFailed(RuntimeError):
    """The server cannot be started here."""


def server_binary() -> str | None:
    """The ``redis-server`` to start: named by ``BROKERKIT_TEST_REDIS_SERVER``, else the machine's; None for none."""
    return os.environ.get("BROKERKIT_TEST_REDIS_SERVER") or shutil.which("redis-server")


class Server:
    """One server; started by ``start``, ended by ``close``. It takes about 30 ms to start.

    What it is asked here is asked by a client that is not ours, and blocks.

    Args:
        directory: An existing directory for all it writes.
        settings: As in ``redis.conf``, over those that make it small and quick.
        sentinel: It watches others instead of keeping data.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None, *, sentinel: bool = False) -> None:
        binary = server_binary()
        if binary is None:
            raise ServerFailed("redis-server is not installed")
        self._binary, self.directory = binary, directory
        self._settings = {**({} if sentinel else _SETTINGS), **(settings or {})}
        self._mode = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.password = self._settings.get("requirepass", "")

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def setting(self, name: str) -> str:
        """What it was started with."""
        return self._settings[name]

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, on the port it had before, and wait until it answers; loading counts as an answer."""
        lines = (f"{name} {value or repr('')}" for name, value in self._settings.items())
        configuration = self.directory / f"{self.port}.conf"
        configuration.write_text("\n".join((f"port {self.port}", f"dir {self.directory}", *lines)))
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, str(configuration), *self._mode], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"redis-server does not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.005)

    @property
    def _log(self) -> Path:
        return self.directory / f"{self.port}.log"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(1))
        return False

    def loaded(self) -> None:
        """Wait until it has loaded its data."""
        while self.info("persistence")["loading"]:
            time.sleep(0.005)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it as its administrator does."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._process = None

    def restart(self, *, killed: bool = False) -> None:
        """End it and start it again, with the data that it kept; without persistence with none."""
        (self.kill if killed else self.stop)()
        self.start()

    def freeze(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self.thaw()  # else it cannot die
            self.kill()

    # -- what is asked and done --------------------------------------------------------------------------------------

    def ask(self, *command: str | bytes | float) -> Any:
        """The answer to a command, its texts decoded where they are text."""
        with self.client() as client:
            return client.execute_command(*command)

    def client(self) -> redis.Redis:
        """A client that is not ours."""
        return redis.Redis(port=self.port, password=self.password or None, protocol=2)

    def info(self, section: str) -> dict[str, Any]:
        """A section of INFO."""
        with self.client() as client:
            return dict(client.info(section))

    def calls(self) -> int:
        """Commands carried out so far, those within scripts included."""
        return sum(int(each["calls"]) for each in self.info("commandstats").values())

    def rejected(self) -> int:
        """Commands refused so far."""
        return sum(int(each["rejected_calls"]) for each in self.info("commandstats").values())

    def keys(self) -> set[str]:
        """Every key there is."""
        with self.client() as client:
            return {key.decode() for key in client.scan_iter(count=1000)}

    def held(self, stream: str, group: str = "bk") -> int:
        """How many entries of a stream are delivered and not acknowledged, those that were given back included."""
        with self.client() as client:
            return int(client.xpending(stream, group)["pending"])

    def memory(self) -> int:
        """Bytes of data, after what can be given back has been."""
        self.ask("MEMORY", "PURGE")
        return int(self.info("memory")["used_memory"])

    def forget_clients(self, kind: str) -> int:
        """End the connections of a kind, ``normal`` or ``pubsub``; returns how many."""
        return int(self.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))


def until(done: Callable[[], bool]) -> None:
    """Look every 20 ms until it is so."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "the servers do not agree"
        time.sleep(0.02)
