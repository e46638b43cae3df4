"""``brokerkit topology graph``: a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from brokerkit import QueueStats, Topology, TopologyError
from brokerkit.cli.opening import opened
from brokerkit.cli.options import Command
from brokerkit.cli.topology.sources import Source, topology_of, with_source
from brokerkit.operations.graph import graph_of, to_dot, to_html, to_mermaid, to_svg
from brokerkit.topology import implied

_DRAWN = {"mermaid": to_mermaid, "dot": to_dot, "svg": to_svg}


@click.command(cls=Command, short_help="Draw it: Mermaid, DOT, SVG or HTML.")
@with_source
@click.option(
    "--format", "form", type=click.Choice(["mermaid", "dot", "svg", "html"]), default="mermaid", show_default=True
)
@click.option("--live", is_flag=True, help="With --app: also how much is in the queues now. --url always shows that.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A file. Default: standard output."
)
def graph(source: Source, form: str, live: bool, output: Path | None) -> None:
    """Draw a topology: Mermaid and DOT for renderers, SVG and HTML as they are, in light and dark.

    A FILE with --url shows how much is in its queues at that broker.
    """
    topology = topology_of(source)
    asked = source.url is not None or (live and source.app is not None)
    picture = graph_of(topology, asyncio.run(_depths(source, topology)) if asked else None)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC") if asked else ""
    text = to_html(picture, now) if form == "html" else _DRAWN[form](picture)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


async def _depths(source: Source, topology: Topology) -> Mapping[str, QueueStats]:
    """What is in each queue and group that is there."""
    found: dict[str, QueueStats] = {}
    whole = implied(topology)
    async with opened(source.target) as app:
        for key in [*(queue.name for queue in whole.queues), *(group.key for group in whole.groups)]:
            try:
                found[key] = await app.queue_stats(key)
            except TopologyError:  # declared here, and not yet at the broker
                continue
    return found
