"""What the server's errors mean here: one table."""

from __future__ import annotations

from hiredis import ReplyError

from brokerkit.errors import BrokerBlocked, ConnectFailed, ConnectionLost, TransportError

FULL = frozenset({"OOM"})
"""The memory's end is reached: nothing was written."""
AWAY = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
"""It is another server's turn: whoever finds it connects to that one."""
NOT_YET = frozenset({"LOADING", "CLUSTERDOWN", "NOREPLICAS", "BUSY"})
"""The server will be ready again, perhaps soon."""

_MEANING = {
    "OOM": "has no memory left (maxmemory); let workers drain it, or give it more",
    "NOAUTH": "wants a password; put it into the URL, as redis://:password@host/0",
    "WRONGPASS": "does not accept the user and password of the URL",
    "NOPERM": "does not permit this to the user (ACL); it needs ~<prefix>:* &<prefix>:* +@all -@dangerous +info",
    "READONLY": "is a replica that cannot be written; connect to its primary",
    "LOADING": "is loading its data; try again soon",
    "MASTERDOWN": "is a replica that has lost its primary",
    "UNBLOCKED": "has become a replica",
    "BUSY": "is busy with somebody's script; SCRIPT KILL ends one that has written nothing",
    "MISCONF": "cannot save its data to disk and takes no more; look at its log",
    "WRONGTYPE": "has a key of ours with something else in it; choose another ?prefix=, or delete that key",
    "CLUSTERDOWN": "is part of a cluster that is down",
    "MOVED": "is part of a cluster; connect to it with redis+cluster://",
    "CROSSSLOT": "is part of a cluster; connect to it with redis+cluster://",
    "NOREPLICAS": "has too few replicas to write (min-replicas-to-write)",
}


_TELLING = frozenset({"NOPERM", "WRONGTYPE", "MISCONF"})
"""The server's own words say which command, or which key."""


class Full(BrokerBlocked):
    """Nothing was written, because there is no memory for it."""


class NotYet(ConnectionLost):
    """The server is there and cannot serve us for now; nothing was carried out."""


class Replied(TransportError):
    """The server answered with an error.

    Args:
        where: The server.
        code: The error's first word.
        text: All of it.
    """

    def __init__(self, where: str, code: str, text: str) -> None:
        text = text.partition(" script: ")[0]  # where in a script it happened is of use to nobody
        self.code, self.text = code, text
        meaning = _MEANING.get(code, f"answered: {text}")
        super().__init__(f"the Redis server {where} {meaning}{f' ({text})' if code in _TELLING else ''}")


class Elsewhere(Replied):
    """The keys are at another server of the cluster.

    Args:
        where: The server that said so.
        error: What it said: ``MOVED 3999 10.0.0.7:6381``, ``ASK`` likewise.
    """

    def __init__(self, where: str, error: ReplyError) -> None:
        code, slot, address = str(error).split(" ")[:3]
        super().__init__(where, code, str(error))
        self.slot = int(slot)
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)

    @property
    def for_once(self) -> bool:
        """Only this one call is to go there: the slot is moving."""
        return self.code == "ASK"


def code_of(error: ReplyError) -> str:
    """The error's first word; that of the command where a script passes it on."""
    text = str(error)
    first = text.partition(" ")[0]
    if first == "ERR":
        if "user executing the script can't" in text:  # as Redis 7.0 says NOPERM within a script
            return "NOPERM"
        found = [code for code in (*_MEANING, "NOGROUP", "NOSCRIPT") if f" {code} " in f" {text} "]
        return found[0] if found else first
    return first


def while_running(where: str, error: ReplyError) -> TransportError:
    """The error of a command."""
    code = code_of(error)
    if code in FULL:
        return Full(str(Replied(where, code, str(error))))
    if code in AWAY:
        return ConnectionLost(str(Replied(where, code, str(error))))
    if code in NOT_YET:
        return NotYet(str(Replied(where, code, str(error))))
    if code in ("MOVED", "ASK"):
        return Elsewhere(where, error)
    return Replied(where, code, str(error))


def while_connecting(where: str, error: BaseException) -> ConnectFailed:
    """The error of connecting."""
    if isinstance(error, ReplyError):
        return ConnectFailed(str(Replied(where, code_of(error), str(error))))
    if isinstance(error, TimeoutError):
        return ConnectFailed(f"the Redis server {where} does not answer; check the address, and that it runs")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectFailed(f"the Redis server {where} cannot be reached: {reason}; check the address, and that it runs")
