"""Measured processes, from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A process that plays one role, a function of a module of this package.

    Args:
        role: ``module:function`` within this package.
        arguments: Its keyword arguments, plain JSON.
    """

    def __init__(self, role: str, **arguments: Any) -> None:
        self.role = role
        command = [sys.executable, "-m", "tests.bench.child", f"tests.bench.{role}", json.dumps(arguments)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> Self:
        """Wait until it is ready."""
        if (line := self._line()) != "ready":
            raise RuntimeError(f"{self.role} said {line!r} instead of being ready")
        return self

    def go_on(self) -> None:
        """Let it go on after being ready."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it found, once it has ended."""
        found: dict[str, Any] = json.loads(self._line())
        self._process.wait()
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.role} ended with code {self._process.wait()} before it was done")
        return line.strip()


def play(role: str, **arguments: Any) -> dict[str, Any]:
    """Play a role from beginning to end."""
    with Child(role, **arguments) as child:
        return child.result()
