"""Runs the command as a user does, on an app in a directory of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "brokerkit"]
PATIENCE = 40.0

SHOP = """
import asyncio, os, time
from brokerkit import App, Context, GiveUp, Queue, Retry

app = App("sqlite:///shop.db", name="shop")
payments = Queue("payments", priorities=3)
not_an_app = 3


def journal(text):
    with open("journal", "a") as file:
        file.write(text + "\\n")


@app.task
async def note(word: str) -> str:
    journal(f"{word} {os.getpid()}")
    return word


@app.task(queue=payments)
async def refuse(order: str) -> None:
    raise GiveUp("the card is \\x1b[31mrefused")


@app.task(retry=Retry.none())
async def fail() -> None:
    raise LookupError("nothing to be found")


@app.task
async def sleep(seconds: float) -> None:
    journal("asleep")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        journal("cancelled")
        raise
    journal("awake")


@app.task
async def block(seconds: float) -> None:
    journal("blocking")
    time.sleep(seconds)
"""

WITHOUT = """
import sys

package = sys.argv.pop(1)
sys.modules[package] = None  # importing it fails
sys.path.insert(0, "")
from brokerkit.cli import main

main()
"""

SEND = """
import asyncio, sys
from shop import app

async def main():
    async with app:
        print((await app.send(app.tasks[sys.argv[1]].message(*map(eval, sys.argv[2:])))).id)

asyncio.run(main())
"""


def write_shop(directory: Path) -> Path:
    """An app, and a program that sends to it."""
    (directory / "shop.py").write_text(SHOP)
    (directory / "send.py").write_text(SEND)
    return directory


def environment() -> dict[str, str]:
    """This process's, without what would change a command."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("BROKERKIT", "NO_COLOR"))}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=directory, env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def send(directory: Path, task: str, *arguments: object) -> str:
    """Send a task; its id."""
    done = subprocess.run(
        [sys.executable, "send.py", task, *map(repr, arguments)], cwd=directory, env=environment(),
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    return done.stdout.strip()


class Running:
    """A command that goes on; its output is in ``log``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, directory: Path) -> None:
        self.process, self._log, self._directory = process, log, directory

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def logged(self, text: str, times: int = 1) -> None:
        """Wait until it has said something."""
        self._until(lambda: self.log.count(text) >= times, f"{text!r} x {times}")

    def journaled(self, text: str, times: int = 1) -> str:
        """Wait until a handler has written something."""
        journal = self._directory / "journal"
        self._until(lambda: journal.exists() and journal.read_text().count(text) >= times, f"journal {text!r}")
        return journal.read_text()

    def _until(self, reached: object, what: str) -> None:
        assert callable(reached)
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, f"never saw {what}:\n{self.log}"
            time.sleep(0.05)


@contextmanager
def running(directory: Path, *arguments: str, without: str | None = None) -> Iterator[Running]:
    """Start a command, where a package is not installed if one is named; it is killed at the end if it still runs."""
    log = directory / "output"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*COMMAND, *arguments] if without is None else [sys.executable, "-c", WITHOUT, without, *arguments],
            cwd=directory, env=environment(), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            yield Running(process, log, directory)
        finally:
            process.kill()
