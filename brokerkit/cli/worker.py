"""``brokerkit worker``: one worker in this process, or several in processes of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import click
import msgspec

from brokerkit import WorkerSettings
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.loading import load_app
from brokerkit.cli.options import Command, app_dir_option
from brokerkit.cli.stopping import Stopper, handled

_log = logging.getLogger("brokerkit.cli")
_DEFAULTS = WorkerSettings()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was given, besides the settings of a worker."""

    target: str
    app_dir: Path
    processes: int
    as_json: bool
    log_level: str | None
    supervisor: int | None
    discover: tuple[str, ...]


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))


@click.command(cls=Command, short_help="Run the tasks and subscribers of an app.")
@click.argument("target", metavar="MODULE:ATTR")
@app_dir_option
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=_DEFAULTS.concurrency, show_default=True,
    help="Handlers that run at the same time, in each process.",
)  # fmt: skip
@click.option(
    "--discover", multiple=True, metavar="PACKAGE",
    help="Import all modules of a package before the worker starts, as app.discover does; may be repeated.",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, kept alive.")
@click.option("--queues", callback=_names, metavar="NAME,NAME", help="Only these queues and groups. Default: all.")
@click.option(
    "--grace", type=click.FloatRange(min=0, max=1e6), default=_DEFAULTS.grace, show_default=True, metavar="SECONDS",
    help="Time that running handlers get when the worker stops.",
)  # fmt: skip
@click.option(
    "--sync-threads", type=click.IntRange(min=1), default=_DEFAULTS.sync_threads, show_default=True,
    help="Threads for handlers that are not async, in each process; where all are of that kind, no more messages are "
    "taken than there are threads.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Log lines as JSON.")
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    help="Default: info, or what the app has set up.",
)
@click.option("--supervisor", type=int, hidden=True)
def worker(
    concurrency: int, queues: tuple[str, ...], grace: float, sync_threads: int, **options: object
) -> ExitCode:  # fmt: skip
    """Run the tasks and subscribers of an app: brokerkit worker shop:app

    MODULE alone means MODULE:app. Importing it runs its code, from --app-dir (default: here).

    The first SIGTERM or Ctrl-C stops intake and lets running handlers end; the second cancels them; the third leaves
    at once. What was not finished is delivered again. Exit codes: 0 stopped as asked; 1 the broker failed; 2 the app
    cannot be loaded or contradicts itself; 3 the processes died again and again; 4 handlers did not end in time.
    """
    settings = WorkerSettings(concurrency=concurrency, queues=queues, grace=grace, sync_threads=sync_threads)
    chosen = msgspec.convert(options, Options)
    return _supervise(chosen, settings) if chosen.processes > 1 else _serve(chosen, settings)


def _serve(options: Options, settings: WorkerSettings) -> ExitCode:
    from brokerkit.cli.serving import serve

    channel = None
    if options.supervisor is not None:
        channel = socket.socket(fileno=options.supervisor)
        channel.set_inheritable(False)  # a process that a handler starts must not keep it open
    app = load_app(options.target, options.app_dir)
    for package in options.discover:
        app.discover(package)
    logs.configure(level=options.log_level, as_json=options.as_json)
    return serve(app, settings, Stopper(settings.grace, channel))


def _supervise(options: Options, settings: WorkerSettings) -> ExitCode:
    logs.configure(level=options.log_level, as_json=options.as_json)
    return asyncio.run(_keep(options, settings))


async def _keep(options: Options, settings: WorkerSettings) -> ExitCode:
    from brokerkit.cli.workforce import Workforce

    workforce = Workforce(_command(options, settings), options.processes, grace=settings.grace, report=_log_change)
    loop = asyncio.get_running_loop()
    for each in handled():
        loop.add_signal_handler(each, workforce.stop)
    return await workforce.run()


def _command(options: Options, settings: WorkerSettings) -> list[str]:
    command = ["worker", options.target, "--app-dir", str(options.app_dir.resolve())]
    command += ["--concurrency", str(settings.concurrency), "--grace", str(settings.grace)]
    command += ["--sync-threads", str(settings.sync_threads)]
    for package in options.discover:
        command += ["--discover", package]
    if settings.queues:
        command += ["--queues", ",".join(settings.queues)]
    if options.log_level:
        command += ["--log-level", options.log_level]
    return [*command, "--json"] if options.as_json else command


def _log_change(change: object) -> None:
    from brokerkit.cli.workforce import Change

    assert isinstance(change, Change)
    who = f"process {change.number} (pid {change.pid})"
    if change.kind == "ready":
        _log.info("%s works, supervised by pid %d", who, os.getpid())
    elif change.kind == "died":
        _log.warning("%s died, %s; starting it again in %.1f s", who, change.how, change.pause)
    elif change.kind == "storm":
        _log.error("%s died, %s; too many died soon after their start: giving up", who, change.how)
    elif change.kind == "ended" and change.code:
        _log.warning("%s ended, %s", who, change.how)
