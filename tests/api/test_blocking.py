"""The app for programs that are not async."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokerkit import (
    App,
    Cancel,
    ConfigurationError,
    ConnectionLost,
    Context,
    Exchange,
    Queue,
    Retry,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
    Unroutable,
)
from brokerkit.client.blocking import BlockingClient
from brokerkit.testing import immediate
from brokerkit.transports.memory import MemoryTransport
from tests.api.probes import PATIENCE


def make(url: str) -> App:
    app = App(url)

    @app.task(retry=Retry.none())
    async def divide(a: int, b: int) -> float:
        return a / b

    @app.task(queue="parked")
    async def parked() -> None: ...

    return app


@contextmanager
def working(client: BlockingClient, app: App) -> Iterator[None]:
    """A worker beside the client, in the client's event loop."""
    begun, stop = threading.Event(), asyncio.Event()

    async def work() -> None:
        async with app.worker(queues=("default",)):
            begun.set()
            await stop.wait()

    async def end() -> None:
        stop.set()

    thread = threading.Thread(target=client.run, args=(work(),))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield
    finally:
        client.run(end())
        thread.join(PATIENCE)
        assert not thread.is_alive()


def threads_of(app: App) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == f"brokerkit app {app.name}"]


# -- what it does ----------------------------------------------------------------------------------------------------


def test_it_sends_waits_and_asks(url: str) -> None:
    app = make(url)
    divide = app.tasks["divide"]
    counts: list[tuple[int, int]] = []
    with app.blocking() as client, working(client, app):
        handle = client.send(divide.message(6, 3))
        assert client.result(handle, timeout=20) == 2.0
        assert client.status(handle.id) is TaskStatus.SUCCESS
        record = client.record(handle.id)
        assert record is not None
        assert record.name == "divide"
        assert client.cancel(handle.id) is Cancel.TOO_LATE
        assert client.result(client.handle(handle.id, divide)) == 2.0
        named = client.send("divide", {"a": 9, "b": 3}, queue="default")
        assert client.result(named, timeout=20) == 3.0
        calls = [divide.message(n, 1) for n in range(10)]
        handles = client.send_many(calls, batch=5, progress=lambda *done: counts.append(done))
        assert client.wait(handles, timeout=20) == (handles, [])
        assert sorted(client.result(each) for each in client.as_completed(handles, timeout=20)) == list(range(10))
        assert [each.status for each in client.watch(handle)] == [TaskStatus.SUCCESS]
        waiting = client.send(app.tasks["parked"].message())
        assert client.run(app.queue_stats("parked")).ready == 1
        assert client.cancel(waiting.id) is Cancel.CANCELLED
    assert counts == [(5, 10), (10, 10)]
    assert not threads_of(app)


def test_it_publishes_events(url: str) -> None:
    app = make(url)
    orders = Exchange("orders", type="topic")
    app.declare(Queue("eu", bindings=[orders.bind("order.eu.*")]))
    with app.blocking() as client:
        assert client.publish({"id": 1}, exchange=orders, routing_key="order.eu.placed")
        with pytest.raises(Unroutable):
            client.publish({"id": 1}, exchange=orders, routing_key="order.us.placed")
        assert client.run(app.queue_stats("eu")).ready == 1


def test_errors_and_their_tracebacks_are_the_apps_own(url: str) -> None:
    app = make(url)
    with app.blocking() as client, working(client, app):
        with pytest.raises(TaskFailed, match="division by zero") as caught:
            client.result(client.send(app.tasks["divide"].message(1, 0)), timeout=20)
        assert caught.value.__cause__ is None
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames[0] == "test_errors_and_their_tracebacks_are_the_apps_own"
        assert "result" in frames
        with pytest.raises(TaskNotFound):
            client.result(client.handle("nobody"))
        with pytest.raises(TimeoutError, match="the task goes on"):
            client.result(client.send(app.tasks["parked"].message()), timeout=0.01)


def test_what_is_no_coroutine_is_refused(url: str) -> None:
    app = make(url)
    with app.blocking() as client, pytest.raises(TypeError, match=r"client\.run\(app\.queue_stats"):
        client.run(app.queue_stats)  # type: ignore[arg-type]


def test_many_threads_share_one_client(url: str) -> None:
    app = make(url)
    divide = app.tasks["divide"]

    def one(number: int) -> object:
        return client.result(client.send(divide.message(number, 2)), timeout=20)

    with app.blocking() as client, working(client, app), ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(200))) == [number / 2 for number in range(200)]


def test_an_iteration_that_is_given_up_leaves_nothing_behind(url: str) -> None:
    app = make(url)
    with app.blocking() as client:
        handles = [client.send(app.tasks["parked"].message()) for _ in range(3)]
        client.cancel(handles[1].id)
        for ended in client.as_completed(handles):
            assert ended is handles[1]
            break
        session = app._session
        assert session is not None
        deadline = time.monotonic() + PATIENCE
        while session._results._waits:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_programs_that_use_it_are_tested_without_a_broker() -> None:
    app = make("amqp://guest:guest@localhost/")
    divide = app.tasks["divide"]
    with immediate(app) as sent, app.blocking() as client:
        assert client.result(client.send(divide.message(6, 3)), timeout=20) == 2.0
        handles = client.send_many([divide.message(n, 1) for n in range(3)])
        assert client.wait(handles, timeout=20) == (handles, [])
    sent.assert_sent(divide, a=6, b=3)
    assert not threads_of(app)


# -- its life --------------------------------------------------------------------------------------------------------


def test_it_lives_without_a_with_block_and_can_be_opened_again(url: str) -> None:
    app = make(url)
    client = app.blocking()
    for _ in range(2):
        assert client.open() is client.open()
        assert client.status("nobody") is None
        client.close()
        client.close()
        assert not threads_of(app)
        with pytest.raises(ConfigurationError, match=r"with app\.blocking\(\) as client"):
            client.status("nobody")


def test_several_clients_share_one_thread_until_the_last_has_gone(url: str) -> None:
    app = make(url)
    with app.blocking() as first:
        with app.blocking() as second:
            assert len(threads_of(app)) == 1
            assert second.status("nobody") is None
        assert first.status("nobody") is None
        with pytest.raises(ConfigurationError, match="is not open"):
            second.status("nobody")
    assert not threads_of(app)


def test_clients_that_come_and_go_in_many_threads_do_not_disturb_each_other(url: str) -> None:
    app = make(url)

    def request(number: int) -> bool:
        with app.blocking() as client:
            return client.status(f"o-{number}") is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(request, range(40)))
    assert not threads_of(app)


def test_an_app_that_cannot_be_opened_says_why_and_can_be_opened_later(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path / 'absent' / 'shop.db'}")
    client = app.blocking()
    for _ in range(2):
        with pytest.raises(Exception, match="absent") as caught:
            client.open()
        assert type(caught.value).__module__ == "brokerkit.errors"
    assert not threads_of(app)
    (tmp_path / "absent").mkdir()
    with client:
        assert client.run(app.find()) == []


def test_a_call_that_waits_when_the_client_is_closed_ends_with_an_error(url: str) -> None:
    app = make(url)
    client = app.blocking().open()
    handle = client.send(app.tasks["parked"].message())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.result, handle, 60)
        session = app._session
        assert session is not None
        while not session._results._waits:
            time.sleep(0.001)
        client.close()
        with pytest.raises(ConfigurationError, match=r"closed while this call waited|the app is closed"):
            waiting.result(PATIENCE)


def test_what_ends_the_app_in_its_thread_is_told_to_every_call_and_at_the_end() -> None:
    app = App(MemoryTransport())

    @app.task
    async def work() -> None: ...

    async def lose_the_inbox() -> None:
        transport = app.transport
        assert isinstance(transport, MemoryTransport)
        transport.abandon()

    client = app.blocking().open()
    client.send(work.message())
    client.run(lose_the_inbox())
    deadline = time.monotonic() + PATIENCE
    while threads_of(app):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    with pytest.raises(ConfigurationError, match=r"the app has ended in its thread: .*inbox") as caught:
        client.send(work.message())
    assert isinstance(caught.value.__cause__, ConnectionLost)
    with pytest.raises(ConnectionLost, match="inbox"):
        client.close()
    assert not threads_of(app)


# -- where it cannot be used -----------------------------------------------------------------------------------------


async def test_inside_an_event_loop_it_says_what_to_do_instead(url: str) -> None:
    app = make(url)
    client = app.blocking()
    with pytest.raises(ConfigurationError, match=r"await the app's own methods, or call from another thread"):
        client.open()
    await asyncio.to_thread(client.open)
    calls: list[Callable[[], object]] = [
        lambda: client.status("o-1"),
        lambda: client.run(app.status("o-1")),
        client.close,
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="would stop the event loop"):
            call()
    assert await asyncio.to_thread(client.status, "o-1") is None
    await asyncio.to_thread(client.close)


async def test_an_app_that_is_open_is_used_where_it_is_open_and_stays_open(url: str) -> None:
    app = make(url)
    divide = app.tasks["divide"]

    @app.task
    def twice(ctx: Context, a: int, b: int) -> float:
        with app.blocking() as client:  # a sync handler that sends, confirmed, and waits
            first, second = client.send_many([divide.message(a, b)] * 2)
            return float(client.result(first, timeout=20) + client.result(second, timeout=20))

    async with app, app.worker(queues=("default",)):
        assert await (await twice.send(6, 2)).result(timeout=20) == 6.0
        assert not threads_of(app)
        client = app.blocking()
        await asyncio.to_thread(client.open)
        assert await asyncio.to_thread(client.status, "nobody") is None
    with pytest.raises(ConfigurationError, match="has been closed where it was open"):
        await asyncio.to_thread(client.status, "nobody")


async def test_an_app_that_is_open_in_its_thread_cannot_be_opened_elsewhere(url: str) -> None:
    app = make(url)
    client = await asyncio.to_thread(app.blocking().open)
    with pytest.raises(ConfigurationError, match="the app is open already"):
        await app.__aenter__()
    await asyncio.to_thread(client.close)


# -- processes -------------------------------------------------------------------------------------------------------

HEAD = """
import os, signal, sys, threading, time
from brokerkit import App, ConfigurationError

app = App("sqlite:///shop.db")

@app.task
async def work() -> None: ...
"""


def program(directory: Path, body: str) -> subprocess.Popen[str]:
    (directory / "program.py").write_text(HEAD + body)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"],
        cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> tuple[str, str]:
    with process:
        try:
            return process.communicate(timeout=PATIENCE * 2)
        finally:
            process.kill()


def test_a_forked_process_is_told_to_open_its_own(tmp_path: Path) -> None:
    body = """
def refused(call):
    try:
        call()
    except ConfigurationError as error:
        print("open it after the" in str(error) and "post_fork" in str(error), flush=True)

client = app.blocking().open()
client.send(work.message())
other = App("sqlite:///shop.db")
if os.fork() == 0:
    refused(lambda: client.send(work.message()))
    refused(lambda: client.open() and client.status("o-1"))
    refused(app.blocking().open)
    client.close()
    with other.blocking() as own:
        print(own.status("nobody"), flush=True)
    sys.exit(0)
os.wait()
print(client.run(app.queue_stats("default")).ready)
client.close()
"""
    out, err = output(program(tmp_path, body))
    assert out.splitlines() == ["True", "True", "True", "None", "1"], err


def test_ctrl_c_ends_a_call_and_closes_the_app(tmp_path: Path) -> None:
    body = """
with app.blocking() as client:
    handle = client.send(work.message())
    print("waiting", flush=True)
    try:
        client.result(handle, timeout=60)
    finally:
        print(client.status(handle.id).value, flush=True)
"""
    process = program(tmp_path, body)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.1)  # into the wait; too early would do as well
    process.send_signal(signal.SIGINT)
    out, err = output(process)
    assert out == "PENDING\n", err
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT or process.returncode == 130


def test_ctrl_c_while_it_opens_leaves_nothing_open(tmp_path: Path) -> None:
    body = """
from brokerkit.transports.memory import MemoryTransport
import asyncio

class Slow(MemoryTransport):
    async def __aenter__(self):
        print("connecting", flush=True)
        await asyncio.sleep(60)

client = App(Slow()).blocking()
try:
    client.open()
except KeyboardInterrupt:
    print([thread.name for thread in threading.enumerate()])
"""
    process = program(tmp_path, body)
    assert process.stdout is not None
    assert process.stdout.readline() == "connecting\n"
    process.send_signal(signal.SIGINT)
    out, err = output(process)
    assert out == "['MainThread']\n", err


def test_a_process_that_does_not_close_ends_all_the_same(tmp_path: Path) -> None:
    body = """
client = app.blocking().open()
print(client.send(work.message()).name)
client.open()
"""
    process = program(tmp_path, body)
    out, err = output(process)
    assert (out, err, process.returncode) == ("work\n", "", 0)
    assert not list(tmp_path.glob("shop.db-*")), "the file was closed"
