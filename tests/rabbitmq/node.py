"""A RabbitMQ node of our own: started from the machine's ``rabbitmq-server``, to be stopped, starved and killed.

It shares nothing with another node of the machine: own ports, own epmd, own cookie, own directories.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from tests.ports import free_port
from tests.rabbitmq.erlang import Asking, Epmd, cookie_file, listens

BEHIND_THE_WRAPPER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Where Debian and Fedora keep the script itself; theirs in the path insists on one user and one directory."""

_CONFIGURATION = """
listeners.tcp.local = 127.0.0.1:{port}
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 1MB
log.file.level = info
"""


class NodeFailed(RuntimeError):
    """The node cannot be started here."""


class QueueInfo(NamedTuple):
    """What a queue itself says: messages, those in somebody's hands included, and consumers."""

    messages: int
    consumers: int


def server_binary() -> Path | None:
    """The ``rabbitmq-server`` that anybody may start: named by ``BROKERKIT_TEST_RABBITMQ_SERVER``, else the machine's;
    None when there is none."""
    if named := os.environ.get("BROKERKIT_TEST_RABBITMQ_SERVER"):
        return Path(named)
    found = shutil.which("rabbitmq-server")
    if found is None:
        return None
    return BEHIND_THE_WRAPPER if found.startswith("/usr/sbin/") and BEHIND_THE_WRAPPER.exists() else Path(found)


class Node:
    """One node; started by ``start``, ended by ``close``.

    Methods that wait for the node block: from a test's event loop call them through ``asyncio.to_thread``, or the
    coroutine functions at the end.

    Args:
        directory: An existing, empty directory for all it writes.
    """

    def __init__(self, directory: Path) -> None:
        binary = server_binary()
        missing = [name for name in ("epmd", "erl") if shutil.which(name) is None]
        if binary is None or missing:
            raise NodeFailed(f"{', '.join(missing) or 'rabbitmq-server'} is not installed")
        self._binary = binary
        self._directory = directory
        self.port, distribution, epmd = (free_port() for _ in range(3))
        self.name = f"brokerkit-{self.port}@localhost"
        self._environment = self._prepared(distribution, epmd)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._epmd = Epmd(self._environment)
        except OSError as error:
            raise NodeFailed(str(error)) from error
        self._asking = Asking(self.name, self._environment)

    def _prepared(self, distribution: int, epmd: int) -> dict[str, str]:
        place = self._directory
        for name in ("home", "data", "log"):
            (place / name).mkdir()
        cookie_file(place / "home", secrets.token_hex(16))
        (place / "rabbitmq.conf").write_text(_CONFIGURATION.format(port=self.port))
        (place / "enabled_plugins").write_text("[].")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **inherited,
            "HOME": str(place / "home"),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(place / "data"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(place / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node instead of watching over it
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput",
        }

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def log(self) -> str:
        """All that the running node has logged so far. It writes late, so this waits for a line of our own."""
        mark = secrets.token_hex(8)
        self.evaluate(f'logger:warning("{mark}", [], #{{gl => whereis(user)}})')  # else it is logged by who asks
        deadline = time.monotonic() + 10
        while mark not in (text := self._log()):
            assert time.monotonic() < deadline, "the node does not write its log"
            time.sleep(0.02)
        return text

    def _log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted((self._directory / "log").glob("*.log")))

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self._directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._binary)],
                cwd=self._directory, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 45
        while not listens(self.port):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NodeFailed(f"the node does not start:\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self) -> str:
        return (self._directory / "output").read_text(errors="replace")[-2000:] + self._log()[-2000:]

    def kill(self) -> None:
        """End it by SIGKILL, as a loss of power would, but for what the system still writes to the disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self._asking.close()
        self._epmd.close()

    def stop_app(self) -> None:
        """Stop the broker, not the Erlang node, as ``rabbitmqctl stop_app`` does."""
        self.evaluate("rabbit:stop()")

    def start_app(self) -> None:
        """Start the broker again, and wait until it takes connections."""
        self.evaluate("rabbit:start()")
        self._wait_until_it_listens()

    def recover(self) -> None:
        """Undo whatever was done to it, vhosts and users apart."""
        if self._process is None:
            self.start()
        self.start_app()
        self.set_alarm(on=False)
        self.set_consumer_timeout(1800)

    # -- what is done to it ------------------------------------------------------------------------------------------

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression in it."""
        return self._asking.evaluate(expression)

    def close_all_connections(self) -> int:
        """Close every client's connection with 320 CONNECTION_FORCED, and return how many there were."""
        return int(
            self.evaluate("""
            Pids = rabbit_networking:connections(),
            _ = [catch rabbit_networking:close_connection(Pid, "closed by a test") || Pid <- Pids],
            length(Pids)""")
        )

    def connections(self) -> int:
        """How many clients are connected."""
        return int(self.evaluate("length(rabbit_networking:connections())"))

    def set_alarm(self, on: bool) -> None:
        """Raise or clear the memory alarm: while it is on, the node reads nothing from connections that publish."""
        self.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({0.0 if on else 0.4})")
        deadline = time.monotonic() + 10
        while (self.evaluate("rabbit_alarm:get_alarms()") != "[]") is not on:
            assert time.monotonic() < deadline, "the alarm does not change"
            time.sleep(0.02)

    def set_consumer_timeout(self, seconds: float, tick: float = 60.0) -> None:
        """How long a delivery may stay unacknowledged, and how often channels look; for channels opened from now on."""
        self.evaluate(f"""
            application:set_env(rabbit, consumer_timeout, {round(seconds * 1000)}),
            application:set_env(rabbit, channel_tick_interval, {round(tick * 1000)})""")

    def queues(self, vhost: str = "/") -> dict[str, QueueInfo]:
        """Its queues by name. Asks the queues themselves: what the node knows of quorum queues is seconds old."""
        text = self.evaluate(f"""
            Total = fun(Queue) ->
              case amqqueue:get_type(Queue) of
                rabbit_quorum_queue ->
                  Leader = amqqueue:get_pid(Queue),
                  {{ok, {{_, Count}}, _}} = ra:local_query(Leader, fun rabbit_fifo:query_messages_total/1),
                  Count;
                _ -> proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))
              end
            end,
            iolist_to_binary([begin
                {{ok, _, Consumers}} = rabbit_amqqueue:stat(Queue),
                [element(4, amqqueue:get_name(Queue)), io_lib:format("\\t~w ~w~n", [Total(Queue), Consumers])]
              end || Queue <- rabbit_amqqueue:list({_binary(vhost)})])""")
        lines = [line.partition("\t") for line in text.splitlines()]
        return {name: QueueInfo(*map(int, figures.split())) for name, _, figures in lines}

    def add_vhost(self, name: str) -> str:
        """Add a virtual host that the guest may do everything in, and return its URL."""
        self.evaluate(f"rabbit_vhost:add({_binary(name)}, {_binary('tests')})")
        self.allow("guest", vhost=name)
        return self.url + name

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host and all that is in it."""
        self.evaluate(f"rabbit_vhost:delete({_binary(name)}, {_binary('tests')})")

    def add_user(self, name: str, password: str) -> str:
        """Add a user that may do nothing yet, and return its URL."""
        self.evaluate(
            f"rabbit_auth_backend_internal:add_user({_binary(name)}, {_binary(password)}, {_binary('tests')})"
        )
        return f"amqp://{name}:{password}@127.0.0.1:{self.port}/"

    def allow(self, user: str, *, vhost: str = "/", configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Give a user permissions: patterns of the names it may declare, publish to and read."""
        patterns = ", ".join(map(_binary, (user, vhost, configure, write, read, "tests")))
        self.evaluate(f"rabbit_auth_backend_internal:set_permissions({patterns})")

    # -- the same for event loops ------------------------------------------------------------------------------------

    async def cut_all(self) -> int:
        """``close_all_connections`` while the event loop goes on."""
        return await asyncio.to_thread(self.close_all_connections)

    async def killed_and_started(self) -> None:
        """``kill`` and ``start`` while the event loop goes on."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)


def _binary(text: str) -> str:
    """An Erlang binary of a text without quotes."""
    assert '"' not in text
    assert "\\" not in text
    return f'<<"{text}"/utf8>>'
