"""The layers of brokerkit and who may import whom. Arrows point one way.

A new module or package directly under ``brokerkit/`` gets its place in ``LAYERS``; a new library gets its owners in
``LIBRARIES``.
"""

import sys
from collections.abc import Iterator

from tests.architecture.sources import PACKAGE, Module

LAYERS = {
    "data": "message delivery outcome errors clock deadlines codec wire ids records topology tls fingerprint",
    "contracts": "transport abilities store dialect checkup planning",
    "policy": "retry lanes calls options context handlers middleware replies",
    "engine": "publisher worker schedule workflow supervisor insisting",
    "adapters": "transports stores",
    "shell": (
        "app serving session backing tasks consumers discovery connect registry settings client deadletters operations "
        "dashboard telemetry"
    ),
    "root": "brokerkit",  # brokerkit/__init__.py, the public names
    "programs": "__main__ cli demo testing",
}

MAY_IMPORT = {
    "data": "data",
    "contracts": "data contracts",
    "policy": "data contracts policy",
    "engine": "data contracts policy engine",
    "adapters": "data contracts",  # and itself: transports/redis and stores/redis are one adapter
    "shell": "data contracts policy engine adapters shell",
    "root": "data contracts policy engine shell",
    "programs": "data contracts policy engine adapters shell root programs",
}

SHARED = "transports/background transports/gate transports/stash"
"""What adapters of brokers share."""

LIBRARIES = {
    "msgspec": "*",
    "click": "cli __main__",
    "signal": "cli",
    "uvloop": "cli",
    "opentelemetry": "telemetry",
    "pydantic": "codec",
    "yaml": "operations",
    "aio_pika": "transports/rabbitmq",
    "aiormq": "transports/rabbitmq",
    "pamqp": "transports/rabbitmq",
    "yarl": "transports/rabbitmq",
    "rich": "client",
    "redis": "transports/redis stores/redis",
    "hiredis": "transports/redis stores/redis",
    "sqlite3": "transports/sqlite stores/sqlite",
    "sqlalchemy": "stores/sql",
    "asyncpg": "stores/sql",
    "aiomysql": "stores/sql",
    "asyncmy": "stores/sql",
}
"""Who may import what is neither brokerkit nor the standard library; ``testing`` may import anything."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(module, module it imports under TYPE_CHECKING) -> why. Nowhere else may an arrow point upwards."""

CLIENTS = {library for library, owners in LIBRARIES.items() if "/" in owners}
"""The libraries of brokers and databases: loaded when their URL scheme is used, never to lint or to plan."""

_LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names.split()}


def violations(module: Module) -> Iterator[str]:
    """One line for each rule the module breaks."""
    part = part_of(module.name)
    if part.partition("/")[0] not in _LAYER_OF:
        yield f"{module.path}: {part} has no layer yet: add it to LAYERS in tests/architecture/layers.py"
        return
    for item in module.imports():
        problem = _problem(part, item.target)
        excepted = item.when == "typing" and any(
            (module.name, item.target.rsplit(".", cut)[0]) in EXCEPTIONS for cut in (0, 1)
        )
        if problem and not excepted:
            yield f"{module.path}:{item.line}: {problem}"


def part_of(dotted: str) -> str:
    """The unit the rules speak of: ``message``, ``worker``, ``transports/redis``."""
    names = dotted.split(".")[1:]
    if not names:
        return "brokerkit"
    if names[0] in LAYERS["adapters"].split() and len(names) > 1:
        return f"{names[0]}/{names[1]}"
    return names[0]


def _problem(part: str, target: str) -> str | None:
    top = target.partition(".")[0]
    return _layer_problem(part, target) if top == "brokerkit" else _library_problem(part, top)


def _layer_problem(part: str, target: str) -> str | None:
    other = part_of(target)
    if other.partition("/")[0] not in _LAYER_OF:
        if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file():
            return None  # said once, of the module itself
        other = "brokerkit"  # from brokerkit import App: a name, not a module
    if part == other or _same_adapter(part, other):
        return None
    layer, wanted = (_LAYER_OF[name.partition("/")[0]] for name in (part, other))
    if wanted in MAY_IMPORT[layer].split():
        return None
    return f"{part} ({layer}) imports {target} ({wanted}); {layer} may import {MAY_IMPORT[layer]}"


def _same_adapter(part: str, other: str) -> bool:
    return "/" in part and (part.partition("/")[2] == other.partition("/")[2] or other in SHARED.split())


def _library_problem(part: str, library: str) -> str | None:
    if part == "testing":
        return None
    owners = LIBRARIES.get(library)
    if owners is None and library not in sys.stdlib_module_names:
        return f"{library} is a new library: add its owners to LIBRARIES in tests/architecture/layers.py"
    if owners in {None, "*"} or part in str(owners).split():
        return None
    return f"{part} imports {library}, which belongs to {owners}"
