"""A primary that is watched by sentinels dies: its replica is found and used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokerkit import App
from brokerkit.errors import ConfigurationError, ConnectFailed, TransportError
from brokerkit.transports.redis import RedisTransport
from tests.ports import free_port
from tests.redis.sentinel import SERVICE, Watched
from tests.redis.servers import Serve

pytestmark = pytest.mark.broker


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    started = Watched(tmp_path, sentinels=1)
    started.start()
    yield started
    started.close()


async def test_the_replica_takes_over(watched: Watched) -> None:
    app = App(f"{watched.url}?lease=3&durability=replicas:1")

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app:
        waiting = [await double.send(number) for number in range(50)]  # each is on the replica, too
        watched.primary.kill()
        async with app.worker():
            assert [await handle.result(timeout=30) for handle in waiting] == [2 * number for number in range(50)]
            # There is no other replica now, so that nothing more is confirmed.
            app._open.publisher.deadline = 0.5
            with pytest.raises(TransportError, match="it may have arrived"):
                await double.send(7)


async def test_a_sentinel_that_is_gone_is_passed_over(watched: Watched) -> None:
    (alive,) = watched.sentinels
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{alive.port}/{SERVICE}/0"
    async with RedisTransport(url) as transport:
        assert transport.capabilities.atomic_commit


async def test_a_sentinel_that_hangs_is_passed_over(watched: Watched, serve: Serve) -> None:
    hanging = serve()
    hanging.freeze()
    (alive,) = watched.sentinels
    url = f"redis+sentinel://127.0.0.1:{hanging.port},127.0.0.1:{alive.port}/{SERVICE}/0?connect_timeout=0.5"
    async with RedisTransport(url) as transport:
        assert transport.capabilities.atomic_commit


async def test_an_unknown_primary_and_absent_sentinels_are_said_to_be(watched: Watched) -> None:
    (alive,) = watched.sentinels
    with pytest.raises(ConnectFailed, match="knows no primary named 'other'; see SENTINEL MASTERS"):
        async with RedisTransport(f"redis+sentinel://127.0.0.1:{alive.port}/other"):
            pass
    with pytest.raises(ConnectFailed, match=r"no sentinel can be reached: .* cannot be reached"):
        async with RedisTransport(f"redis+sentinel://127.0.0.1:{free_port()}/{SERVICE}"):
            pass


def test_the_primary_has_to_be_named() -> None:
    with pytest.raises(ConfigurationError, match="name the primary as its sentinels do"):
        RedisTransport("redis+sentinel://localhost")
