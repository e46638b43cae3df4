"""The scripts, each put together of its parts once."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PLACE = Path(__file__).with_name("lua")


class Script(NamedTuple):
    """A script as the server knows it.

    Args:
        name: For people.
        body: Its text.
        sha: By which the server knows it.
        hands_over: What it publishes may go straight to somebody who waits.
    """

    name: str
    body: bytes
    sha: str
    hands_over: bool = False


@cache
def script(name: str, *parts: str, flags: str = "allow-oom", hands_over: bool = False) -> Script:
    """A script with the parts it needs.

    With a first line of its own (``#!lua``) a script may only touch the slot of the keys it is given. Scripts that free
    memory, or move what is there, may run where there is none left.
    """
    head = f"#!lua flags={flags}" if flags else "#!lua"
    texts = [(_PLACE / f"{part}.lua").read_text(encoding="utf-8") for part in ("common", *parts, name)]
    body = "\n".join((head, *texts)).encode()
    return Script(name, body, hashlib.sha1(body, usedforsecurity=False).hexdigest(), hands_over)


PUBLISH = script("publish", "once", "records", "targets", flags="", hands_over=True)
REPLY = script("publish", "once", "records", "targets", hands_over=True)
COMMIT = script("commit", "once", "records", "targets")
FETCH = script("fetch")
OFFER = script("offer")
REGISTER = script("register")
LEAVE = script("leave")
RENEW = script("renew")
MARK = script("mark", "once")
CREATE = script("create", flags="")
APPLY = script("apply", flags="")
SWAP = script("swap", flags="")
HOLD = script("hold", "count_undelivered", "holding", flags="no-writes")
DROP = script("drop", "count_undelivered", "holding")
RELANE = script("relane", flags="")
EPOCH = script("epoch")
PROMOTE = script("promote", "records", "targets")
SWEEP = script("sweep", "records", "targets")
REDRIVE = script("redrive", "once", "records", "targets")
PURGE = script("purge", "once")
MORTAL = script("mortal")
REPLAY = script("replay", "once", flags="")
STATS = script("stats", "count_undelivered", flags="no-writes")
FIND = script("find", flags="no-writes")
COPIES = script("copies", flags="no-writes")
CANCEL = script("cancel", "once", "records")
TAKE = script("take")
STORE = script("store", "records", flags="")
ENTER = script("enter", "records", flags="")
LEASE = script("lease", flags="")
COUNT = script("count", flags="")
PRESENCE = script("presence", flags="")
PRESENT = script("present", flags="no-writes")
