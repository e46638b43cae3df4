"""Importing every module of a package, so that the tasks in them are known."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType

from brokerkit.errors import ConfigurationError
from brokerkit.tasks import Tasks

_HERE = Path(__file__).parent


def import_all(package: str, exclude: Sequence[str] = ()) -> list[ModuleType]:
    """Import a package and what is below it, but for ``__main__`` and what is excluded; in the order of their names.

    Raises:
        ConfigurationError: One of them cannot be imported.
    """
    if isinstance(exclude, str):
        raise ConfigurationError(f"discover: exclude takes several names: exclude=[{exclude!r}]")
    return list(_imported(package, package, exclude))


def _imported(name: str, package: str, exclude: Sequence[str]) -> Iterator[ModuleType]:
    module = _import(name, package)
    yield module
    for found in sorted(pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."), key=lambda each: each.name):
        below = found.name
        if not below.endswith(".__main__") and not any(fnmatchcase(below, pattern) for pattern in exclude):
            yield from _imported(below, package, exclude)


def _import(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        if missing:
            raise ConfigurationError(f"discover({package!r}): there is no module {name}") from error
        what = f"{type(error).__name__}: {error}{raised_at(error, __file__)}"
        raise ConfigurationError(
            f"discover({package!r}): {name} cannot be imported: {what}; correct it, or leave it out with "
            f"exclude=[{name!r}]"
        ) from error


def raised_at(error: BaseException, importer: str) -> str:
    """For texts: the file and line of the imported code that raised, or that called what raised in brokerkit; "" where
    there is none.

    Args:
        error: What an import raised.
        importer: The file that imported.
    """
    if isinstance(error, SyntaxError):
        return ""  # its text names them
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if frame.filename not in {importer, importlib.__file__}]
    own = [frame for frame in own if not Path(frame.filename).is_relative_to(_HERE)] or own
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def collections_of(modules: Sequence[ModuleType]) -> list[Tasks]:
    """Each ``Tasks`` that is a variable of one of the modules, once; apps are among them."""
    found = (value for module in modules for value in vars(module).values() if isinstance(value, Tasks))
    return list(dict.fromkeys(found))
