"""A proxy before a server, to see what a store does when the way to it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

from tests.sql.making import Place


class Proxy:
    """Hands bytes on, until it is told otherwise.

    Attributes:
        port: Where it listens.
        stalled: While True nothing is handed on in either direction; connections stay open.
        deaf: When it is n, the server's n-th word from now is lost: all connections are cut instead. 0 for none.
        refusing: While True new connections are ended at once.
        served: Connections so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self.port = 0
        self.stalled = False
        self.deaf = 0
        self.refusing = False
        self.served = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, place: Place) -> AsyncIterator[Self]:
        """A proxy before the server of a place."""
        parts = urlsplit(place.server)
        proxy = cls(parts.hostname or "127.0.0.1", parts.port or (5432 if place.postgresql else 3306))
        listener = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = listener.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            listener.close()
            proxy.stalled = False
            proxy.cut()
            while proxy._writers:
                await asyncio.sleep(0.01)

    def url(self, place: Place, prefix: str, **options: object) -> str:
        """The URL of a store that goes through the proxy."""
        parts = urlsplit(place.url(prefix, **options))
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        if self.refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._server)
        ours = {writer, up_writer}
        self._writers |= ours
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer, server=True))
        finally:
            self._writers -= ours

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, server: bool = False) -> None:
        """Hand on until this side ends, which ends the other, too."""
        try:
            while data := await source.read(65536):
                while self.stalled:
                    await asyncio.sleep(0.01)
                if server and self.deaf:
                    self.deaf -= 1
                    if not self.deaf:
                        self.cut()
                        return
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # cut
        finally:
            sink.transport.abort()
