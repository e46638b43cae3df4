"""Trouble that lasts is told once in a while, not each time."""

from __future__ import annotations

import asyncio
import logging

_log = logging.getLogger("brokerkit")

AGAIN = 60.0
"""Seconds until the same trouble is told again."""


class Complaints:
    """Why servers do not serve us, told once in a while."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def add(self, text: str) -> None:
        """Tell, unless that was told lately."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(text, -AGAIN) >= AGAIN:
            self._said = {each: at for each, at in self._said.items() if now - at < AGAIN} | {text: now}
            _log.warning("%s; trying again", text)

    def clear(self) -> None:
        """All is well."""
        self._said.clear()
