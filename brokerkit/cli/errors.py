"""What goes wrong, as one line and an exit code."""

from __future__ import annotations

import enum

import click

from brokerkit.errors import BrokerkitError, ConfigurationError, MissingCapability, TopologyError


class ExitCode(enum.IntEnum):
    """What a script may rely on."""

    DONE = 0
    FAILED = 1
    """What was asked could not be done: broker unreachable, queue or task unknown, demo not as expected. Or what was
    looked at is not right: ``topology lint`` has errors, ``explain`` reaches nothing, ``doctor`` finds a problem."""
    USAGE = 2
    """It was asked wrongly: an option, ``module:attr``, a URL, a missing extra, an app that contradicts itself."""
    CHANGES = 2
    """``topology plan``, ``diff`` and ``drift``: there is something to do. Asked wrongly is 1 there."""
    CRASH_STORM = 3
    """``worker --processes``: the processes died again and again, so they are not started any more."""
    HARD = 4
    """``worker``: handlers still ran when their grace had ended; the process left without acknowledging them."""
    INTERRUPTED = 130
    """Ctrl-C."""


EXIT_CODES = (
    "Exit codes: 0 done; 1 it could not be done, or what was looked at is not right; 2 it was asked wrongly, or "
    "topology plan, diff and drift have found something to do (asked wrongly is 1 there); "
    "3 worker processes died again and again; 4 handlers were still running when the grace ended; 130 interrupted."
)


class Refusal(Exception):
    """The one line that the user reads, and the exit code.

    Args:
        text: What is wrong and what to do next.
        code: Default ``FAILED``.
    """

    def __init__(self, text: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(text)
        self.code = code


def explained(error: Exception) -> tuple[str, int]:
    """One line for an error, and the exit code it means."""
    text, code = _explained(error)
    return " ".join(text.split()), code


def _explained(error: Exception) -> tuple[str, int]:
    if isinstance(error, Refusal):
        return str(error), error.code
    if isinstance(error, click.UsageError):
        return _usage(error), ExitCode.USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, BrokerkitError):
        return _ours(error)
    if isinstance(error, OSError):
        return str(error), ExitCode.FAILED
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; run it with --traceback to see where", ExitCode.FAILED


def _ours(error: BrokerkitError) -> tuple[str, ExitCode]:
    text = "; ".join(error.problems) if isinstance(error, TopologyError) else str(error)
    wrong = isinstance(error, ConfigurationError) and not isinstance(error, MissingCapability)
    return text, ExitCode.USAGE if wrong else ExitCode.FAILED


def _usage(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    return f"{text}; see {error.ctx.command_path} --help" if error.ctx is not None else text
