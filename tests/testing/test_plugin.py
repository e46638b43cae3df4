"""The pytest plugin, in the test runs of a user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import brokerkit

SHOP = """
from brokerkit import App, Context, Retry

app = App("amqp://broker.invalid/")

@app.task(retry=Retry.fixed(max_retries=3, delay=60))
async def charge(ctx: Context, order_id: str) -> int:
    if ctx.attempt < 3:
        raise ConnectionError
    return ctx.attempt
"""

COSTS_NOTHING = """
import sys

loaded = {"brokerkit.app", "brokerkit.testing.clock", "msgspec"} & set(sys.modules)

def test_the_plugin_is_there_and_had_loaded_nothing_before_the_program_was(request):
    assert request.config.pluginmanager.has_plugin("brokerkit")
    assert not loaded
"""

SYNC = """
import asyncio
from shop import app, charge

async def by_hand(app, clock):
    async with app, app.worker():
        handle = await charge.send("o-1")
        for attempt in (1, 2):
            await clock.advance(59)
            record = await handle.record()
            assert (record.status, record.attempt) == ("RETRY", attempt)
            await clock.advance(1)
        assert await handle.result() == 3

def test_by_hand(brokerkit_app, brokerkit_clock):
    asyncio.run(by_hand(brokerkit_app(app, clock=brokerkit_clock), brokerkit_clock))

async def by_itself(app):
    async with app, app.worker():
        assert await (await charge.send("o-1")).result() == 3

def test_by_itself(brokerkit_app):
    asyncio.run(by_itself(brokerkit_app(app)))

def test_a_new_app(brokerkit_app):
    one, other = brokerkit_app(), brokerkit_app()
    assert one is not other

    @one.task
    async def work() -> str:
        return "done"

    async def run():
        async with one, one.worker():
            assert await (await work.send()).result() == "done"

    asyncio.run(run())

def test_the_apps_own_broker_is_back():
    assert type(app._backing.transport).__name__ == "RabbitmqTransport"
"""

STRICT = """
import pytest
from shop import app, charge

@pytest.mark.asyncio
async def test_in_strict_mode(brokerkit_app, brokerkit_clock):
    async with brokerkit_app(app, clock=brokerkit_clock), app.worker():
        handle = await charge.send("o-1")
        await brokerkit_clock.advance(120)
        assert await handle.result() == 3
"""


def run(directory: Path, *options: str, **tests: str) -> str:
    """A test run of its own, where warnings are errors; what it printed."""
    (directory / "shop.py").write_text(SHOP)
    for name, text in tests.items():
        (directory / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_costs_nothing_and_needs_no_plugin_for_async_tests(tmp_path: Path) -> None:
    printed = run(tmp_path, "-p", "no:asyncio", a_costs_nothing=COSTS_NOTHING, sync=SYNC)
    assert "5 passed" in printed


def test_it_works_beside_pytest_asyncio_in_strict_mode(tmp_path: Path) -> None:
    strict = ["-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function"]
    assert "1 passed" in run(tmp_path, *strict, strict=STRICT)


def test_a_program_that_runs_pytest_may_have_imported_brokerkit_before() -> None:
    """See ``AssertionRewritingHook.mark_rewrite``, which warns of other modules of a package that has a plugin."""
    assert "PYTEST_DONT_REWRITE" in str(brokerkit.__doc__)


async def test_its_fixtures_are_here_as_well(brokerkit_app: pytest.FixtureRequest) -> None:
    assert callable(brokerkit_app)
