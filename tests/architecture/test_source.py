"""What must not be written in the package, wherever it stands."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.sources import PACKAGE, Module, load_package

MODULES = load_package()

BARE_TASKS = {"brokerkit/worker/slots.py", "brokerkit/worker/execution.py", "brokerkit/supervisor.py"}
"""Who may start a task that no TaskGroup awaits; keep in step with per-file-ignores in pyproject.toml."""

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
UNSAFE_CALLS = {"eval", "exec", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}
TASK_CALLS = {"create_task", "ensure_future"}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_nothing_received_can_become_code(module: Module) -> None:
    assert not list(unsafe(module))


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_only_slots_and_the_supervisor_start_bare_tasks(module: Module) -> None:
    assert module.path in BARE_TASKS or not list(bare_tasks(module))


def test_nothing_is_left_to_do_in_the_package() -> None:
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert not [path for path in files if re.search(rb"\b(TODO|FIXME)\b", path.read_bytes())]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "def f(text):\n    exec(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "from yaml import load\nload(text)",
    ],
)
def test_unsafe_code_is_reported(source: str) -> None:
    assert list(unsafe(Module("brokerkit.codec", "brokerkit/codec.py", source)))


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasyncio.create_task(f())",
        "import asyncio\nasyncio.ensure_future(f())",
        "from asyncio import create_task\ncreate_task(f())",
        "import asyncio as aio\naio.get_running_loop().create_task(f())",
        "loop.create_task(f())",
        "self._loop.create_task(f())",
    ],
)
def test_a_bare_task_is_reported(source: str) -> None:
    assert list(bare_tasks(Module("brokerkit.app", "brokerkit/app.py", source)))


@pytest.mark.parametrize(
    "source",
    ["group.create_task(f())", "self._group.create_task(f())", "import re\nre.compile('x')", "yaml.safe_load(text)"],
)
def test_safe_code_passes(source: str) -> None:
    module = Module("brokerkit.app", "brokerkit/app.py", source)
    assert not [*bare_tasks(module), *unsafe(module)]


def unsafe(module: Module) -> Iterator[str]:
    """Imports and calls that turn bytes or text into running code."""
    for item in module.imports():
        if item.target.partition(".")[0] in UNSAFE_MODULES or item.target in UNSAFE_CALLS:
            yield f"{module.path}:{item.line}: {item.target}"
    for line, name in _calls(module):
        if name.removeprefix("builtins.") in UNSAFE_CALLS:
            yield f"{module.path}:{line}: {name}()"


def bare_tasks(module: Module) -> Iterator[str]:
    """Tasks started on asyncio itself or on a loop, rather than in a TaskGroup."""
    for line, name in _calls(module):
        owner, _, function = name.rpartition(".")
        if function in TASK_CALLS and (not owner or re.search(r"asyncio$|\baio$|loop(\(\))?$", owner)):
            yield f"{module.path}:{line}: {name}()"


def _calls(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)
