"""``brokerkit demo``: a tour that counts."""

from __future__ import annotations

import click

from brokerkit.cli.errors import ExitCode
from brokerkit.cli.options import Command, json_option


@click.command(cls=Command, short_help="A tour: about a thousand tasks, crashes, nothing lost.")
@json_option
def demo(as_json: bool) -> ExitCode:
    """See it work: about a thousand tasks, two processes, crashes on the way, nothing lost."""
    from brokerkit.demo.show import play

    return play(as_json=as_json)
