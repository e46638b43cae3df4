"""Looking after a broker or a store: what is checked, and what a check says. One protocol for both."""

from __future__ import annotations

import enum
import time
from typing import Protocol, runtime_checkable

import msgspec

from brokerkit.topology import Topology

SKEW = 2.0
"""Seconds that two clocks may differ: expiry, delays and records compare times of several machines."""


class Verdict(enum.Enum):
    """How something is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It cannot be found out from here; the text says how."""
    WARNING = "warning"
    """It works, and may lose or do what nobody wants."""
    PROBLEM = "problem"
    """It does not work, or will lose messages."""


class Check(msgspec.Struct, frozen=True):
    """What was found about one thing.

    Args:
        topic: What was looked at, in a word or two.
        verdict: How it is.
        text: What was found.
        fix: What to do; "" where nothing needs to be done.
    """

    topic: str
    verdict: Verdict
    text: str
    fix: str = ""


@runtime_checkable
class Diagnoses(Protocol):
    """A transport or store that can look after its server. It changes nothing there but what it removes itself."""

    async def checkup(self, topology: Topology) -> list[Check]:
        """Everything worth knowing, whether good or bad; what cannot be asked is UNKNOWN, never left out.

        Args:
            topology: What an app would declare, to be compared with what is there; an empty one where that is unknown.

        Raises:
            TransportError: The connection was lost.
            StoreError: Likewise, of a store.
        """
        ...


def clock_check(server: float, asked: float) -> Check:
    """Compare a server's clock with this machine's.

    Args:
        server: Its time, in seconds since the epoch.
        asked: This machine's time when it was asked; half of what has passed since is taken for the way.
    """
    now = time.time()
    skew = server - (asked + now) / 2
    certain = abs(skew) - (now - asked) / 2
    if certain <= SKEW:
        return Check("clock", Verdict.OK, f"differs from this machine's by {abs(skew):.1f} s")
    direction = "ahead of" if skew > 0 else "behind"
    fix = "run an NTP client on both; messages expire, and records age, by these clocks"
    return Check("clock", Verdict.WARNING, f"{abs(skew):.1f} s {direction} this machine's", fix)


def tls_check(encrypted: bool, host: str, fix: str) -> Check:
    """Whether the connection is encrypted, where it leaves the machine.

    Args:
        encrypted: It is.
        host: Where it leads.
        fix: How to encrypt it.
    """
    if encrypted:
        return Check("tls", Verdict.OK, "the connection is encrypted")
    if is_local(host):
        return Check("tls", Verdict.OK, "not encrypted, and the server is on this machine")
    return Check("tls", Verdict.WARNING, "the password and every message can be read on the way", fix)


def is_local(host: str) -> bool:
    """Whether a host is this machine, by its name."""
    return host in {"", "localhost", "127.0.0.1", "::1"} or host.startswith("/")
