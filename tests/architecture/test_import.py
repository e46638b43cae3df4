"""`import brokerkit` stays light: no client library, no environment, no I/O beyond the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import brokerkit
from tests.architecture.layers import LIBRARIES
from tests.architecture.sources import PACKAGE, ROOT

HEAVY = sorted({*LIBRARIES, "pytest", "hypothesis", "http", "multiprocessing", "unittest"} - {"msgspec", "signal"})

WATCH = """
import asyncio, dataclasses, datetime, msgspec, os, sys, threading, typing   # what they read is theirs

quiet = True
seen = []

class Watched(type(os.environ)):
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while frame and frame.f_globals.get("__name__") in {"os", "collections.abc", "_collections_abc"}:
            frame = frame.f_back
        if frame and frame.f_globals.get("__name__", "").startswith("brokerkit"):
            seen.append(f"environment {key}")
        return super().__getitem__(key)

CODE = (".py", ".pyc", ".so", ".pyd")
ACTS = ("socket.", "subprocess.", "sqlite3.", "os.mkdir", "os.remove", "os.rename", "os.system")

def watch(event, arguments):
    if quiet:
        return
    if event == "open" and not str(arguments[0]).endswith(CODE) or event.startswith(ACTS):
        seen.append(f"{event} {arguments}")

os.environ.__class__ = Watched
sys.addaudithook(watch)
quiet = False
import {module}
quiet = True
seen += [f"thread {thread.name}" for thread in threading.enumerate()[1:]]
print(*seen, sep="\\n")
"""


EVERYTHING = "brokerkit.app, brokerkit.worker"
"""What the lazy names of ``brokerkit`` load."""


def test_importing_brokerkit_loads_no_heavy_module() -> None:
    loaded = set(_python(f"import sys, {EVERYTHING}; print(*sys.modules, sep='\\n')", ROOT).split())
    assert not loaded.intersection(HEAVY)


def test_the_redis_transport_loads_the_client_only_for_a_cluster() -> None:
    loaded = _python("import sys, brokerkit.transports.redis.transport; print(*sys.modules, sep='\\n')", ROOT).split()
    assert "hiredis" in loaded
    assert "redis" not in loaded, "it takes more than 10 MB of each worker"


def test_importing_brokerkit_reads_no_environment_and_does_no_io() -> None:
    assert _python(WATCH.replace("{module}", EVERYTHING), ROOT).split("\n") == [""]


def test_importing_brokerkit_alone_does_not_even_load_the_event_loop() -> None:
    loaded = set(_python("import sys, brokerkit; print(*sys.modules, sep='\\n')", ROOT).split())
    assert not loaded.intersection({"asyncio", "msgspec", "brokerkit.app"})


def test_each_public_name_comes_from_the_module_that_type_checkers_see() -> None:
    homes = {
        alias.name: node.module.removeprefix("brokerkit.")
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("brokerkit.")
        for alias in node.names
    }
    assert homes == brokerkit._MODULE_OF
    assert brokerkit.__all__ == sorted(homes)
    assert all(getattr(brokerkit, name) is not None for name in homes)
    with pytest.raises(AttributeError, match="no attribute 'Apps'"):
        getattr(brokerkit, "Apps")  # noqa: B009 - what a type checker would refuse


@pytest.mark.parametrize(
    ("source", "report"),
    [
        ("import os; os.environ.get('HOME')", "environment HOME"),
        ("import os; os.getenv('HOME')", "environment HOME"),
        ("import os; 'HOME' in os.environ and os.environ['HOME']", "environment HOME"),
        ("open('/dev/null').close()", "open"),
        ("import socket; socket.socket().close()", "socket.__new__"),
        ("import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()", "thread "),
    ],
)
def test_a_module_that_does_more_than_import_is_caught(tmp_path: Path, source: str, report: str) -> None:
    (tmp_path / "brokerkit_guilty.py").write_text(source)
    assert report in _python(WATCH.replace("{module}", "brokerkit_guilty"), tmp_path)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def _python(program: str, directory: Path) -> str:
    """What the program prints, run in a process of its own that imports from ``directory`` first."""
    command = [sys.executable, "-B", "-X", "utf8", "-c", program]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")
