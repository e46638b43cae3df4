"""The ``brokerkit`` command: puts the groups together and ends with one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from brokerkit import __version__
from brokerkit.cli.errors import EXIT_CODES, ExitCode, explained
from brokerkit.cli.output import plain

COMMANDS = ("demo", "worker", "queue", "dlq", "task", "topology", "doctor")
"""Each is a module here, with the command of that name: loaded when it is used, so that none waits for the others."""


class Program(click.Group):
    """A click group whose errors are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, as ``--help`` lists them."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, None for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"brokerkit.cli.{cmd_name}"), cmd_name)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and exit with its code."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            _end("stopped", ExitCode.INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - one line for whatever it was; --traceback shows the rest
            _end(*_told(error))
        sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def _told(error: Exception) -> tuple[str, int]:
    context: click.Context | None = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":  # a bare command, from click 8.2 on
        click.echo(context.get_help())
        return "", ExitCode.USAGE
    return explained(error)


def _end(text: str, code: int) -> NoReturn:
    if text:
        click.echo(click.style("Error: ", fg="red") + plain(text), err=True, color=_colour())
    sys.exit(code)


def _colour() -> bool | None:
    """None leaves it to click, which asks for a terminal; see https://no-color.org."""
    return False if os.environ.get("NO_COLOR") else None


@click.group(cls=Program, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="brokerkit", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Describe your queues once; run tasks and events on them, and lose nothing."""
    context.color = _colour()


def main() -> NoReturn:
    """The ``brokerkit`` command."""
    commands.main(prog_name="brokerkit")
