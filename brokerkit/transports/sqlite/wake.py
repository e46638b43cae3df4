"""How processes wake each other: one datagram socket each, in a directory beside the file.

A datagram says only "look", and for what. Whoever misses one looks by itself within a second. A socket that refuses
proves that its process has ended, because the kernel closes it then; one that is not found proves nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

_LONGEST_NAME = 32
"""Bytes that a socket's own name may take of them."""
_LONGEST_PATH = 100
"""Bytes that every system's ``sockaddr_un.sun_path`` holds, see unix(7)."""


MESSAGES, REPLIES, SIGNALS = 1, 2, 4
"""What there may be to look for."""
EVERYTHING = MESSAGES | REPLIES | SIGNALS


class Bell:
    """The sockets of one transport: one that hears, one that rings at others.

    Args:
        path: The broker's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = ""
        """Where others ring; "" where there are no such sockets."""
        self.ear: socket.socket | None = None
        self._mouth: socket.socket | None = None

    def open(self) -> None:
        """Bind the socket; without one the transport only looks once a second."""
        if not hasattr(socket, "AF_UNIX"):
            return
        self._mouth = _new_socket()
        for directory in (self._path.with_name(f"{self._path.name}.wake"), _elsewhere(self._path)):
            with contextlib.suppress(OSError):
                self._bind(directory)
                return

    def close(self, *, tidy: bool = True) -> None:
        """Close; ``tidy=False`` leaves the file, as a crash would."""
        for each in (self.ear, self._mouth):
            if each is not None:
                each.close()
        self.ear = self._mouth = None
        if tidy and self.address:
            self.forget([self.address])
            with contextlib.suppress(OSError):
                Path(self.address).parent.rmdir()

    def hush(self) -> int:
        """Take what has been rung, and return what to look for; on the event loop."""
        heard = []
        with contextlib.suppress(BlockingIOError, OSError):
            while self.ear is not None:
                heard.append(self.ear.recv(16))
        # Where there are several, others may have found no room.
        return heard[0][0] if len(heard) == 1 and heard[0] else EVERYTHING

    def ring(self, address: str, what: int) -> bool:
        """Have whoever hears there look; False when that process has ended."""
        try:
            if self._mouth is not None and address:
                self._mouth.sendto(bytes((what,)), address)
        except ConnectionRefusedError:
            return False
        except OSError:
            # A full buffer wakes it anyway; a missing file or right leaves it to its own look-out.
            return True
        return True

    def is_dead(self, address: str) -> bool:
        """Whether the process that bound the socket has ended."""
        if self._mouth is None:
            return False
        with _new_socket() as probe:
            try:
                probe.connect(address)
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
        return False

    def forget(self, addresses: Iterable[str]) -> None:
        """Remove the files of sockets that nobody hears any more."""
        for address in addresses:
            with contextlib.suppress(OSError):
                Path(address).unlink()

    def _bind(self, directory: Path) -> None:
        address = str(directory / f"{os.getpid()}-{secrets.token_hex(4)}")
        if len(os.fsencode(address)) > _LONGEST_PATH:
            raise OSError("the path is too long for a socket")
        directory.mkdir(mode=0o700, exist_ok=True)
        info = directory.lstat()
        if info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise PermissionError(f"{directory} belongs to somebody else")
        ear = _new_socket()
        try:
            ear.bind(address)
        except OSError:
            ear.close()
            raise
        self.ear, self.address = ear, address


def _new_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    made.setblocking(False)
    return made


def _elsewhere(path: Path) -> Path:
    """A directory with a short name, the same for all processes of this user that use the file."""
    digest = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
    name = f"brokerkit-{os.geteuid()}-{digest}"
    usual = Path(tempfile.gettempdir()) / name
    return usual if len(os.fsencode(usual)) < _LONGEST_PATH - _LONGEST_NAME else Path("/tmp") / name
