"""``brokerkit topology show``: a topology, put together and written out."""

from __future__ import annotations

import click

from brokerkit.cli.options import Command, json_option
from brokerkit.cli.output import show_json
from brokerkit.cli.topology.sources import Source, topology_of, with_source
from brokerkit.operations.files import to_toml, to_yaml
from brokerkit.topology import implied


@click.command(cls=Command, short_help="Print it as one YAML or TOML file.")
@with_source
@click.option("--format", "form", type=click.Choice(["yaml", "toml"]), default="yaml", show_default=True)
@click.option("--implied", "with_implied", is_flag=True, help="Also the dead-letter queues that nobody has declared.")
@json_option
def show(source: Source, form: str, with_implied: bool, as_json: bool) -> None:
    """Print the topology of FILE, an app or a broker as one YAML or TOML file, with includes and overlays applied."""
    found = topology_of(source)
    if with_implied:
        found = implied(found)
    if as_json:
        show_json(found)
    else:
        click.echo(to_yaml(found) if form == "yaml" else to_toml(found), nl=False)
