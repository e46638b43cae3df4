"""Where measured processes meet: a broker of their own for each measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def fresh_file(directory: str) -> Iterator[str]:
    """The path of a database that does not exist yet."""
    with TemporaryDirectory(dir=directory) as place:
        yield str(Path(place, "b.db"))


@contextmanager
def fresh_broker(transport: str, directory: str) -> Iterator[str]:
    """The URL of an empty broker."""
    if transport == "memory":
        yield "memory://"
    else:
        with fresh_file(directory) as path:
            yield f"sqlite:///{path}"
