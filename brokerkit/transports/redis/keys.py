"""What keys are called, and which of them lie together.

In a cluster the part of a key in braces, its tag, decides which server keeps it, and a script may only touch keys of
one tag. What a script needs beside the keys of a queue (the epoch of the topology, the answers to our calls, the
channel that wakes us) therefore exists once for each tag. With a single server, or with braces in the prefix, all keys
lie together.
"""

from __future__ import annotations

import msgspec

DEAD = ".dead"


class Keys(msgspec.Struct, frozen=True):
    """What keys are called.

    Args:
        prefix: What every key begins with.
        together: All keys may be used in one script.
    """

    prefix: str
    together: bool = True

    def near(self, tag: str) -> str:
        """What keys begin with that lie beside those of a tag."""
        return self.prefix if self.together else f"{self.prefix}:{{{tag}}}"

    def base(self, tag: str, name: str) -> str:
        """What the keys of an object's parts begin with."""
        return f"{self.prefix}:{{{tag}}}:{name}"

    @property
    def home(self) -> str:
        """What keys begin with that there is only one of."""
        return self.near("home")

    @property
    def topology(self) -> str:
        """Hash: the fragments of all apps."""
        return f"{self.home}:topology"

    @property
    def leaving(self) -> str:
        """Hash: what is no longer declared, and has not been deleted or moved yet."""
        return f"{self.home}:leaving"

    @property
    def planning(self) -> str:
        """String: who changes the topology now."""
        return f"{self.home}:planning"

    @property
    def signals(self) -> str:
        """Channel: a word to every worker."""
        return f"{self.home}:signals"

    @property
    def presences(self) -> str:
        """Sorted set: until when each worker is taken to be there."""
        return f"{self.home}:presences"

    @property
    def workers(self) -> str:
        """Hash: the heartbeats."""
        return f"{self.home}:workers"


def epoch(near: str) -> str:
    """String: which state of the topology publishers must know."""
    return f"{near}:epoch"


def calls(near: str, process: str) -> str:
    """Hash: the answers to calls of a process that it may not have seen."""
    return f"{near}:calls:{process}"


def channel(near: str, process: str) -> str:
    """Channel: wakes a process."""
    return f"{near}:wake:{process}"


def near_of(channel: str) -> str:
    """What keys begin with that lie beside a channel."""
    return channel.rpartition(":wake:")[0]


def tag_of(name: str) -> str:
    """The tag of an object that says nothing of it: a dead-letter queue lies beside what its name says it belongs to, a
    group beside its log. Depends on nothing else, so that it never changes."""
    return name.removesuffix(DEAD).partition("@")[0]
