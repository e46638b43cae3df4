"""How far something long has come: a callback, and one that draws a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brokerkit.errors import ConfigurationError

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are, from the event loop; it should return at once."""


@contextmanager
def progress_bar(title: str = "") -> Iterator[Progress]:
    """Draw a bar on the terminal: ``with progress_bar("sending") as bar: await app.send_many(calls, progress=bar)``.

    Args:
        title: What stands before it.

    Yields:
        What ``progress=`` takes.

    Raises:
        ConfigurationError: The package ``rich`` is not installed.
    """
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Display
    except ModuleNotFoundError as error:
        raise ConfigurationError("progress_bar draws with the package 'rich': pip install 'brokerkit[rich]'") from error
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Display(*columns) as display:
        task = display.add_task(title, total=None)

        def show(done: int, total: int) -> None:
            display.update(task, completed=done, total=total)

        yield show
