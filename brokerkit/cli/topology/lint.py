"""``brokerkit topology lint``: what is wrong, or may not be meant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from brokerkit import Topology, __version__
from brokerkit.checkup import Check, Diagnoses, Verdict
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.loading import load_app
from brokerkit.cli.opening import opened
from brokerkit.cli.options import Command, Target, app_dir_option, json_option
from brokerkit.cli.output import plain, show_json
from brokerkit.cli.topology.sources import FILE, env_option
from brokerkit.dialect import Dialect
from brokerkit.operations.dialects import connected, dialect_for, dialect_of_scheme
from brokerkit.operations.lint import Found, Rule, lint_app, lint_file, rule, rules
from brokerkit.operations.lint.ignoring import Exemption
from brokerkit.operations.lint.reporting import as_json as as_data
from brokerkit.operations.lint.reporting import lines, summary
from brokerkit.operations.lint.sarif import as_sarif
from brokerkit.topology import Finding, ObjectPath

BROKEN, DOUBTFUL = "BK901", "BK902"


def _explain(context: click.Context, parameter: click.Parameter, code: str | None) -> None:
    if code is None or context.resilient_parsing:
        return
    known = rule(code.upper())
    if known is None and code != "all":
        raise click.BadParameter(f"there is no rule {code!r}; without a code it lists them", context, parameter)
    click.echo("\n".join(map(_one_line, rules().values())) if known is None else _page(known))
    context.exit()


def _one_line(known: Rule) -> str:
    return f"{known.code}  {known.severity:7}  {known.title}"


def _page(known: Rule) -> str:
    return f"{known.code} ({known.severity}): {known.title}\n\n{known.text}"


@click.command(cls=Command, short_help="Find what is wrong, and what may not be meant.")
@click.argument("files", metavar="[FILE]...", type=FILE, nargs=-1)
@env_option
@click.option("--app", metavar="MODULE:ATTR", help="An app, with its tasks and subscribers, instead of files.")
@app_dir_option
@click.option(
    "--broker", "brokers", multiple=True, metavar="NAME",
    help="Also what this broker refuses: rabbitmq:3.10, rabbitmq:4.3, redis:7, valkey:9, sqlite, memory. "
    "Several times for several. Default: the app's own, in its newest version.",
)  # fmt: skip
@click.option("--url", metavar="URL", help="Also what the broker there refuses, as it is configured.")
@click.option("--ignore", "ignored", multiple=True, metavar="CODE[=PATH]", help="A warning that does not count.")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@json_option
@click.option(
    "--explain", metavar="[CODE]", is_flag=False, flag_value="all", is_eager=True, expose_value=False,
    callback=_explain, help="Explain a rule, or list all, and leave.",
)  # fmt: skip
def lint(
    files: Sequence[Path],
    env: str | None,
    app: str | None,
    app_dir: Path,
    brokers: Sequence[str],
    url: str | None,
    ignored: Sequence[str],
    strict: bool,
    form: str,
    as_json: bool,
) -> ExitCode:
    """Find what is wrong with topologies, and what may not be meant; no broker is needed.

    Every overlay of a file is linted unless --env names one. Exit code 1: there are errors, or with --strict warnings.
    """
    if bool(files) == bool(app):
        raise click.UsageError(
            "name files (topologies/*.yaml), or an app (--app shop:app)", click.get_current_context()
        )
    if env is not None and app is not None:
        raise click.UsageError("--env is for files; an app says topology_env= itself", click.get_current_context())
    exemptions = [*map(Exemption.parse, ignored)]
    dialects, live = [*map(dialect_for, brokers)], list[Found]()
    if url is not None:
        dialect, live = asyncio.run(_live(url))
        dialects.append(dialect)
    found = [*live, *(_of_app(app, app_dir, dialects) if app else _of_files(files, env, dialects))]
    found = [each for each in found if not any(exemption.covers(each.finding) for exemption in exemptions)]
    _report(found, len(files) or 1, "app" if app else "file", "json" if as_json else form)
    return ExitCode.FAILED if any(strict or each.severity == "error" for each in found) else ExitCode.DONE


def _of_files(files: Sequence[Path], env: str | None, dialects: Sequence[Dialect]) -> list[Found]:
    environments = None if env is None else [env]
    return [found for file in files for found in lint_file(file, dialects, environments)]


def _of_app(target: str, directory: Path, dialects: Sequence[Dialect]) -> list[Found]:
    app = load_app(target, directory)
    own = dialect_of_scheme(app.scheme) if not dialects else None
    return lint_app(app, [own] if own is not None else dialects)


async def _live(url: str) -> tuple[Dialect, list[Found]]:
    """The dialect of a broker as it is, and what is not right with it."""
    logs.quiet()
    async with opened(Target(None, Path(), url)) as app:
        transport = app.transport
        checks = await transport.checkup(Topology("lint")) if isinstance(transport, Diagnoses) else []
        name = transport.capabilities.name
        rules = {Verdict.PROBLEM: BROKEN, Verdict.WARNING: DOUBTFUL}
        found = [Found(_finding(rules[each.verdict], each), None, (name,)) for each in checks if each.verdict in rules]
        return connected(transport.capabilities), found


def _finding(rule_code: str, check: Check) -> Finding:
    return Finding(rule_code, ObjectPath.of("broker", check.topic), f"{check.text}; {check.fix}")


def _report(found: Sequence[Found], subjects: int, noun: str, form: str) -> None:
    reports: dict[str, Any] = {"json": as_data, "sarif": lambda all_of_it: as_sarif(all_of_it, __version__)}
    if form != "text":
        show_json(reports[form](found))
        return
    for line in lines(found):
        click.echo(plain(line))
    click.echo(summary(found, subjects, noun))
