"""The middleware that logs: payloads stay out unless they are asked for."""

from __future__ import annotations

import logging

import pytest

from brokerkit import App, Retry, Settings, TaskFailed
from brokerkit.middleware.logging import log_received, log_sent

SECRET = "hunter2"


async def run(*, payload: bool) -> None:
    """One task that ends well, one that fails, and a publish nobody takes."""
    settings = Settings(
        middleware=[log_received(payload=payload)], send_middleware=[log_sent(payload=payload)], retry=Retry.none()
    )
    app = App("memory://", settings=settings)

    @app.task
    async def log_in(password: str, *, fails: bool = False) -> None:
        if fails:
            raise ValueError("no entry")

    async with app, app.worker():
        await (await log_in.send(SECRET)).result()
        with pytest.raises(TaskFailed):
            await (await log_in.send(SECRET, fails=True)).result()


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == logger]


async def test_what_is_received_and_sent_is_logged_without_its_payload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "brokerkit")
    await run(payload=False)
    received, sent = lines(caplog, "brokerkit.received"), lines(caplog, "brokerkit.sent")
    assert [line.split()[0] for line in received] == ["DEBUG", "INFO", "DEBUG", "WARNING"]
    assert received[0].endswith("attempt 1 starts")
    assert received[3].endswith("ValueError")
    assert [line.split()[-1] for line in sent] == ["confirmed", "confirmed"]
    assert SECRET not in "\n".join(received + sent)


async def test_payloads_are_logged_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "brokerkit")
    await run(payload=True)
    assert SECRET in lines(caplog, "brokerkit.received")[0]
    assert SECRET in lines(caplog, "brokerkit.sent")[0]
