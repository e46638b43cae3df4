"""``brokerkit topology``: a topology as code, from files or an app."""

from __future__ import annotations

import click

from brokerkit.cli.options import Group
from brokerkit.cli.topology.apply import apply
from brokerkit.cli.topology.drift import drift
from brokerkit.cli.topology.explain import explain
from brokerkit.cli.topology.export import export
from brokerkit.cli.topology.graph import graph
from brokerkit.cli.topology.lint import lint
from brokerkit.cli.topology.plan import diff, plan
from brokerkit.cli.topology.schema import schema
from brokerkit.cli.topology.show import show


@click.group(cls=Group, short_help="Check, plan, apply and draw topologies.")
def topology() -> None:
    """Topology as code: YAML and TOML files, or what an app declares; check it, plan it, apply it."""


for _command in (lint, plan, apply, diff, drift, explain, graph, show, schema, export):
    topology.add_command(_command)

__all__ = ["topology"]
