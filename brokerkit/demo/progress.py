"""The live line: one that is updated on a terminal, an occasional one elsewhere, none for scripts."""

from __future__ import annotations

import shutil
import sys
import time

from brokerkit.cli.output import plain

_EACH = 2.0
"""Seconds between lines where there is no terminal."""
_BAR = 24


class Progress:
    """Shows how far the demo is, on stderr.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._write(f"{self.seconds:5.1f} s  {text}", end="\n")

    def update(self, done: int, expected: int, text: str) -> None:
        """The line that changes."""
        now = time.monotonic()
        if self._quiet or (not self._live and now - self._shown < _EACH):
            return
        self._shown = now
        part = min(1.0, done / max(1, expected))
        bar = f"[{'#' * round(part * _BAR)}{'.' * (_BAR - round(part * _BAR))}]"
        line = f"{self.seconds:5.1f} s  {bar} {done:,} of {expected:,} done, {text}"
        self._write(line, end="" if self._live else "\n")

    def clear(self) -> None:
        """Remove the line that changes."""
        if self._live and not self._quiet:
            self._write("", end="")

    def _write(self, text: str, end: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            text = f"\r\x1b[K{plain(text)[:width]}"
        sys.stderr.write(text + end)
        sys.stderr.flush()
