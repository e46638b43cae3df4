"""The topology: every descriptor of one app, as one value.

The descriptors live beside this module, one noun each: ``exchange``, ``queue``, ``log``, ``retry``, ``options``.
All are frozen, hashable and equal by value; they are the same in Python, YAML and TOML.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from brokerkit.topology.exchange import Exchange
from brokerkit.topology.fields import as_tuple, canonical
from brokerkit.topology.log import Group, Log
from brokerkit.topology.options import Mode
from brokerkit.topology.queue import Queue


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exchanges, queues, logs and groups that belong together; nothing is checked before ``validate``.

    Args:
        name: The app they belong to.
        exchanges: Its exchanges. Default none.
        queues: Its queues. Default none.
        logs: Its logs. Default none.
        groups: The groups that read its logs. Default none.
        mode: That of all descriptors that name none: ``own`` creates what is missing, ``verify`` only compares,
            ``trust`` does not look. Default ``own``.
    """

    name: str
    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    logs: tuple[Log, ...] = ()
    groups: tuple[Group, ...] = ()
    mode: Mode = "own"

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            exchanges: Sequence[Exchange] = (),
            queues: Sequence[Queue] = (),
            logs: Sequence[Log] = (),
            groups: Sequence[Group] = (),
            mode: Mode = "own",
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, exchanges=as_tuple, queues=as_tuple, logs=as_tuple, groups=as_tuple)
