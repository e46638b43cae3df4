"""``brokerkit topology schema``: what a file may say, for editors."""

from __future__ import annotations

import click

from brokerkit.cli.options import Command
from brokerkit.cli.output import show_json
from brokerkit.operations.files import json_schema


@click.command(cls=Command)
def schema() -> None:
    """Print the JSON Schema of topology files, for editors.

    YAML: begin the file with "# yaml-language-server: $schema=topology.schema.json". TOML: with
    "#:schema topology.schema.json".
    """
    show_json(json_schema())
