"""The inside of a measured process: runs one role and prints what it found as JSON.

Each measurement has processes of its own, so that none inherits the heap of another. This module imports next to
nothing, because some of them are weighed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Role = Callable[..., Awaitable[dict[str, Any]]]
"""What a process does; keyword arguments in, figures out, both plain JSON."""


def loop_name() -> str:
    """The event loop that roles run on."""
    return "asyncio" if _uvloop() is None else f"uvloop {_uvloop().__version__}"


def _uvloop() -> Any:
    try:
        return importlib.import_module("uvloop")
    except ModuleNotFoundError:
        return None


def run(role: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Run a role to its end, on uvloop where it is installed."""
    uvloop = _uvloop()

    async def whole() -> dict[str, Any]:
        return await role

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        return runner.run(whole())


async def told_to_go_on() -> None:
    """Tell the parent that this process is ready, and wait until it says go on."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    place, arguments = sys.argv[1:]
    module, name = place.split(":")
    role: Role = getattr(importlib.import_module(module), name)
    print(json.dumps(run(role(**json.loads(arguments)))), flush=True)


if __name__ == "__main__":
    main()
