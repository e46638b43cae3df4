"""Names, ids, labels and headers that cannot travel: refused where they are given, and never the end of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import App, BrokerkitError, Context, Retry, Settings, TaskFailed

SURROGATE = "\ud800"
"""A str that no encoding carries: what ``os.fsdecode`` makes of a file name in another encoding."""

OPTIONS: dict[str, dict[str, Any]] = {
    "a label that is no scalar": {"metadata": {"a": object()}},
    "a label that is a list": {"metadata": {"a": [1]}},
    "a label that no encoding carries": {"metadata": {"a": SURROGATE}},
    "a label over 64 bits": {"metadata": {"a": 2**70}},
    "a label whose name is no text": {"metadata": {1: "a"}},
    "a header that no encoding carries": {"headers": {"a": SURROGATE}},
    "a header over 64 bits": {"headers": {"a": 2**70}},
    "an id that no encoding carries": {"id": SURROGATE},
    "an id that is no text": {"id": 5},
    "a correlation that no encoding carries": {"correlation_id": SURROGATE},
    "a correlation that is no text": {"correlation_id": 5},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


class Shop:
    """Two tasks; ``run`` does what the test gives it."""

    def __init__(self, url: str) -> None:
        self.app = App(url, settings=Settings(retry=Retry.none()))
        self.body: Any = None

        @self.app.task
        async def fine() -> int:
            return 1

        @self.app.task
        async def run(ctx: Context) -> None:
            await self.body(ctx)

        self.fine, self.run = fine, run

    async def works(self) -> bool:
        return await (await self.fine.send()).result(timeout=10) == 1

    async def outcome(self, body: Any) -> str:
        """What becomes of a task with this body, in a worker that must go on."""
        self.body = body
        async with self.app, self.app.worker(concurrency=2):
            handle = await self.run.send()
            try:
                await handle.result(timeout=10)
                text = ""
            except TaskFailed as error:
                text = str(error)
            assert await self.works()
        return text


@each_option
async def test_it_is_refused_at_the_sender(url: str, options: dict[str, Any]) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        with pytest.raises((BrokerkitError, ValueError, TypeError)) as caught:
            await shop.fine.options(**options).send()
        assert not isinstance(caught.value, UnicodeEncodeError)  # tells neither what nor where
        assert await shop.works()


@each_option
async def test_in_a_follow_up_it_fails_the_attempt_and_nothing_else(url: str, options: dict[str, Any]) -> None:
    shop = Shop(url)
    assert await shop.outcome(lambda ctx: ctx.send(shop.fine.options(**options).message()))


@pytest.mark.parametrize("name", [SURROGATE, "n\n", "x" * 201], ids=["surrogate", "control character", "too long"])
async def test_a_name_that_cannot_travel_is_refused_at_the_sender(url: str, name: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        with pytest.raises(BrokerkitError):
            await shop.app.send(name, {}, queue="default")
        with pytest.raises(BrokerkitError):
            await shop.app.publish({}, exchange="", routing_key=name)
        assert await shop.works()


async def test_a_routing_key_of_a_follow_up_that_cannot_travel_fails_the_attempt(url: str) -> None:
    assert await Shop(url).outcome(lambda ctx: ctx.publish({}, exchange="things", routing_key=SURROGATE))


@pytest.mark.parametrize("note", [SURROGATE, "x" * 5_000_000], ids=["surrogate", "long"])
async def test_words_about_progress_do_no_harm_whatever_they_are(url: str, note: str) -> None:
    assert await Shop(url).outcome(lambda ctx: ctx.progress(0.5, note)) == ""
