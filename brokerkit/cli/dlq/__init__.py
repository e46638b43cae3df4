"""``brokerkit dlq``: what was given up, and what to do with it."""

from __future__ import annotations

import click

from brokerkit.cli.dlq.listing import list_, show
from brokerkit.cli.dlq.purging import purge
from brokerkit.cli.dlq.redriving import redrive
from brokerkit.cli.options import Group


@click.group(cls=Group)
def dlq() -> None:
    """List, show, send back and delete dead letters. QUEUE is a queue's name or a group's (log@group)."""


for _command in (list_, show, redrive, purge):
    dlq.add_command(_command)

__all__ = ["dlq"]
