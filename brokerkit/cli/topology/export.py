"""``brokerkit topology export``: a topology in the forms of others."""

from __future__ import annotations

import click

from brokerkit.cli.loading import load_app
from brokerkit.cli.options import Command
from brokerkit.cli.output import show_json
from brokerkit.cli.topology.sources import Source, topology_of, with_source
from brokerkit.operations.export import as_asyncapi, as_definitions


@click.command(cls=Command, short_help="Print it as definitions of RabbitMQ, or as AsyncAPI.")
@with_source
@click.option("--format", "form", type=click.Choice(["rabbitmq", "asyncapi"]), required=True, help="The form.")
@click.option(
    "--broker", default="rabbitmq", metavar="NAME", help="rabbitmq: its version, as rabbitmq:3.13. Default: the newest."
)
@click.option("--vhost", metavar="NAME", help="rabbitmq: for an import of the whole broker.")
@click.option("--policies", is_flag=True, help="rabbitmq: what may change later as policies, not as arguments.")
@click.option("--delays", is_flag=True, help="rabbitmq: also the delay ladder, which apps declare when they need it.")
@click.option("--api-version", default="1.0.0", show_default=True, help="asyncapi: the version of what is described.")
def export(
    source: Source, form: str, broker: str, vhost: str | None, policies: bool, delays: bool, api_version: str
) -> None:
    """Print a topology as RabbitMQ's definitions (rabbitmqctl import_definitions takes them) or as AsyncAPI 3.0."""
    if form == "rabbitmq":
        found = as_definitions(topology_of(source), broker, vhost=vhost, policies=policies, delays=delays)
    else:
        app = load_app(source.app, source.app_dir) if source.app is not None else None
        found = as_asyncapi(topology_of(source), app, version=api_version, url=source.url or "")
    show_json(found)
