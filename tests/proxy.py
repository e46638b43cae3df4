"""A TCP proxy that does to a connection what networks do: cut it, stall it, half-open it, lose what comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

_CHUNK = 65536


class Pipe:
    """One accepted connection and the one behind it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self.client, self.server = client, server
        self.deaf = False
        """What the server sends is thrown away."""
        self.late: asyncio.Event | None = None
        """Until it is set the server does not get what the client has sent, also when the client has gone."""
        self.slow: asyncio.Event | None = None
        """Until it is set the client does not get what the server has sent."""

    def cut(self) -> None:
        """Reset both sides."""
        for side in (self.client, self.server):
            side.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        """Copy one direction until it ends, as the proxy's switches say."""
        try:
            while data := await reader.read(_CHUNK):
                self._proxy.held += len(data)
                await (self._proxy.up if up else self._proxy.down).wait()
                if up and self.late is not None:
                    await self.late.wait()
                if not up and self.slow is not None:
                    await self.slow.wait()
                self._proxy.held -= len(data)
                data, spent = self._allowed(data, up=up)
                if up or not (self._proxy.swallowing or self.deaf):
                    writer.write(data)
                    await writer.drain()
                if spent:
                    break
        except OSError:
            pass  # either side went away, which the finally below passes on
        finally:
            if not self._proxy.half_open and (self.late is None or self.late.is_set()):
                for side in (self.client, self.server):
                    side.close()

    def _allowed(self, data: bytes, *, up: bool) -> tuple[bytes, bool]:
        """What of it gets through, and whether that was the last."""
        proxy = self._proxy
        proxy.seen[up] += len(data)
        if proxy.left is None or proxy.cut_up is not up:
            return data, False
        data = data[: proxy.left]
        proxy.left -= len(data)
        if proxy.left:
            return data, False
        proxy.left = None
        return data, True


class Proxy:
    """Listens on a port of its own in front of a broker.

    Attributes:
        up: Cleared, what the client sends is held back.
        down: Cleared, what the server sends is held back.
        swallowing: What the server sends is read and thrown away.
        half_open: Neither side learns that the other has gone.
        left: Bytes of one direction until both sides are closed; None for no limit.
        refusing: New connections are closed at once.
        connections: How many were accepted.
        seen: Bytes of each direction that got through, by "is it the client's".
        held: Bytes that are read and held back.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.pipes: list[Pipe] = []
        self.connections = 0
        self.refusing = False
        self.seen = {True: 0, False: 0}
        self.held = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.left: int | None = None
        self.swallowing = self.half_open = False
        self.cut_up = True
        self.heal()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, url: str, host: str = "127.0.0.1") -> str:
        """The URL of the broker behind, through the proxy."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        scheme = parts.scheme
        if scheme.startswith("amqp"):
            scheme = "amqps" if self._tls else "amqp"
        return parts._replace(scheme=scheme, netloc=f"{login}{at}{host}:{self.port}").geturl()

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Hold back one direction, or both; the sockets stay open."""
        for event, stalled in ((self.up, up), (self.down, down)):
            if stalled:
                event.clear()

    def half_open_now(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        self.half_open = True
        self.stall()

    def cut_after(self, count: int, *, up: bool) -> None:
        """Close both sides after so many more bytes of one direction."""
        self.left, self.cut_up = count, up

    def leave_behind(self) -> list[Pipe]:
        """Take those connections from the client that have been given a ``late``; what it has sent by them stays on its
        way to the server until that is set. What it sends from now on comes by new connections."""
        pipes = [pipe for pipe in self.pipes if pipe.late is not None]
        assert pipes, "set late before the client sends"
        for pipe in pipes:
            pipe.client.transport.abort()
        return pipes

    def cut(self) -> None:
        """Reset every connection there is."""
        pipes, self.pipes = self.pipes, []
        for pipe in pipes:
            pipe.cut()

    def heal(self) -> None:
        """Let everything through; what was held back follows."""
        self.swallowing = self.half_open = False
        self.left = None
        self.up.set()
        self.down.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        while self._serving:
            for pipe in self.pipes:
                for event in (pipe.late, pipe.slow):
                    if event is not None:
                        event.set()
            self.cut()
            await asyncio.wait(self._serving, timeout=0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        if self.refusing:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        pipe = Pipe(self, writer, server_writer)
        self.pipes.append(pipe)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipe.forward(reader, server_writer, up=True))
                group.create_task(pipe.forward(server_reader, writer, up=False))
        finally:
            pipe.cut()
            if pipe in self.pipes:
                self.pipes.remove(pipe)


@asynccontextmanager
async def proxy_to(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy before the broker of a URL; with ``tls`` it ends the encryption."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5672, tls)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
