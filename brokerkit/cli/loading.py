"""From ``module:attr`` to the app. Importing it runs the user's code; nothing else of what is typed is ever run."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from brokerkit import App
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.discovery import raised_at

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
DEFAULT_ATTRIBUTE = "app"


def load_app(target: str, directory: Path) -> App:
    """Import an app.

    Args:
        target: ``module:attr``; ``module`` alone means ``module:app``. Dots are allowed in both, dunders in neither.
        directory: Put first on Python's path, and no other is added.

    Raises:
        Refusal: In one line, with the fix.
    """
    module_name, attribute = _parsed(target)
    place = str(directory.resolve())
    if place not in sys.path[:1]:
        sys.path.insert(0, place)
    module = _imported(module_name, directory.resolve())
    return _found(module, attribute, directory.resolve())


def _parsed(target: str) -> tuple[str, str]:
    name, colon, attribute = target.partition(":")
    if "/" in name or name.endswith(".py"):
        raise _refused(f"{target!r} is a path; name the module: {Path(name).stem}:{attribute or DEFAULT_ATTRIBUTE}")
    attribute = attribute if colon else DEFAULT_ATTRIBUTE
    if not _DOTTED.fullmatch(name) or not _DOTTED.fullmatch(attribute):
        raise _refused(f"{target!r} is not module:attr; write it as shop:app, for the variable app of shop.py")
    if any(part.startswith("__") for part in (*name.split("."), *attribute.split("."))):
        raise _refused(f"{target!r} names something private; name the variable that holds the App")
    return name, attribute


def _refused(text: str) -> Refusal:
    return Refusal(text, ExitCode.USAGE)


def _imported(name: str, directory: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise _refused(_no_module(name, missing, directory)) from error
        kind, text = type(error).__name__, str(error).partition("\n")[0]
        raise _refused(
            f"{name} cannot be imported: {kind}: {text}{raised_at(error, __file__)}; correct it, --traceback shows more"
        ) from error


def _no_module(name: str, missing: str, directory: Path) -> str:
    if missing != name:
        return f"there is no module {name}: {missing} has nothing of that name or is no package"
    return f"there is no module {name} in {directory} or installed; go where it lies, or give --app-dir"


def _found(module: ModuleType, attribute: str, directory: Path) -> App:
    found: object = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _refused(_no_attribute(module, attribute, directory)) from None
    if not isinstance(found, App):
        kind = type(found).__name__
        raise _refused(f"{module.__name__}:{attribute} is a {kind}, not a brokerkit App{_instead(module)}")
    return found


def _no_attribute(module: ModuleType, attribute: str, directory: Path) -> str:
    file = getattr(module, "__file__", None) or "the interpreter"
    if (directory / f"{module.__name__}.py").is_file() and Path(file).parent != directory:
        return f"{module.__name__} is also the name of {file}, which was there first; rename your {module.__name__}.py"
    return f"{module.__name__} has no {attribute!r}{_instead(module)}"


def _instead(module: ModuleType) -> str:
    apps = sorted(_apps(module))
    if not apps:
        return f"; there is no App in {module.__name__}: define one, as app = App(...)"
    return f"; it has {', '.join(f'{module.__name__}:{name}' for name in apps)}"


def _apps(module: ModuleType) -> Iterator[str]:
    return (name for name, value in vars(module).items() if isinstance(value, App) and not name.startswith("__"))
