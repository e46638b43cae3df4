"""Arrows point one way: each module imports its own layer or one below, and only the libraries it owns."""

import pytest

from tests.architecture.layers import CLIENTS, LAYERS, LIBRARIES, MAY_IMPORT, part_of, violations
from tests.architecture.sources import Module, load_package, reached_at_import

MODULES = load_package()


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())
def test_a_module_imports_only_what_its_layer_allows(module: Module) -> None:
    problems = "\n".join(violations(module))
    assert not problems, problems


def test_the_compile_step_of_an_adapter_loads_no_client_library() -> None:
    for module in MODULES.values():
        if _is_compile_step(module):
            assert not _clients_loaded_by(module, MODULES)


def test_every_layer_says_what_it_may_import() -> None:
    assert LAYERS.keys() == MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("message.py", "from brokerkit.transport import Transport", "message (data) imports brokerkit.transport"),
        ("message.py", "from brokerkit import transport", "message (data) imports brokerkit.transport"),
        ("message.py", "from .transport import Transport", "message (data) imports brokerkit.transport"),
        ("topology/router.py", "from .. import transport", "topology (data) imports brokerkit.transport"),
        ("message.py", "from brokerkit import App", "message (data) imports brokerkit.App (root)"),
        ("retry.py", "def f():\n    import brokerkit.app", ":2: retry (policy) imports brokerkit.app"),
        ("store.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import brokerkit.retry", ":3: store"),
        ("worker/slot.py", "from brokerkit.transports.memory import Memory", "worker (engine) imports"),
        ("transports/redis/fetch.py", "from brokerkit.worker import Worker", "transports/redis (adapters) imports"),
        ("transports/redis/fetch.py", "import brokerkit.transports.memory", "transports/redis (adapters) imports"),
        ("transports/redis/fetch.py", "import aio_pika.abc", "belongs to transports/rabbitmq"),
        ("app.py", "import redis.asyncio", "app imports redis, which belongs to transports/redis stores/redis"),
        ("app.py", "import brokerkit.cli", "app (shell) imports brokerkit.cli (programs)"),
        ("worker/drain.py", "import signal", "worker imports signal, which belongs to cli"),
        ("app.py", "import opentelemetry.trace", "belongs to telemetry"),
        ("app.py", "import requests", "requests is a new library: add its owners"),
        ("novelty.py", "", "novelty has no layer yet: add it to LAYERS"),
    ],
)
def test_a_wrong_import_is_reported(path: str, source: str, complaint: str) -> None:
    [found] = violations(_module(path, source))
    assert complaint in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("message.py", "from __future__ import annotations\nimport asyncio\nimport msgspec"),
        ("message.py", "from brokerkit.records import TaskRecord"),
        ("retry.py", "from brokerkit.outcome import Ack"),
        ("transports/redis/__init__.py", "import redis\nfrom brokerkit.transports.redis.compile import keys"),
        ("transports/redis/__init__.py", "from .compile import keys\nfrom brokerkit.stores.redis import scripts"),
        ("connect.py", "def load():\n    import brokerkit.transports.memory"),
        ("__init__.py", "from brokerkit.app import App"),
        ("cli/main.py", "import click\nfrom brokerkit import App"),
        ("testing/conformance.py", "import pytest\nimport redis\nimport brokerkit.worker.execution"),
    ],
)
def test_a_right_import_passes(path: str, source: str) -> None:
    assert not list(violations(_module(path, source)))


def test_a_client_library_reached_through_other_modules_is_found() -> None:
    compile_step = _module("transports/redis/compile.py", "from brokerkit.transports.redis import keys")
    keys = _module("transports/redis/keys.py", "import redis")
    package = _module("transports/redis/__init__.py", "def connect():\n    import redis")
    modules = {module.name: module for module in (compile_step, keys, package)}
    assert _clients_loaded_by(compile_step, modules) == ["brokerkit/transports/redis/keys.py loads redis"]


def test_client_libraries_are_those_of_the_adapters() -> None:
    assert {"aio_pika", "redis", "sqlite3", "sqlalchemy"} <= CLIENTS < LIBRARIES.keys()


def _module(path: str, source: str) -> Module:
    name = "brokerkit." + path.removesuffix(".py").replace("/", ".")
    name = "brokerkit" if path == "__init__.py" else name.removesuffix(".__init__")
    return Module(name, f"brokerkit/{path}", source)


def _is_compile_step(module: Module) -> bool:
    return "/" in part_of(module.name) and module.name.endswith((".compile", ".dialect"))


def _clients_loaded_by(start: Module, modules: dict[str, Module]) -> list[str]:
    return [
        f"{module.path} loads {item.target}"
        for module in reached_at_import(start, modules).values()
        for item in module.imports()
        if item.when == "run" and item.target.partition(".")[0] in CLIENTS
    ]
