"""A bar that the optional package draws."""

from __future__ import annotations

import sys

import pytest

from brokerkit import App, ConfigurationError
from brokerkit.client.progress import progress_bar


async def test_a_bar_shows_how_many_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    app = App("memory://")

    @app.task
    async def work(number: int) -> int:
        return number

    async with app, app.worker():
        with progress_bar("sending") as bar:
            handles = await app.send_many([work.message(n) for n in range(7)], batch=3, progress=bar)
        assert "sending" in (drawn := capsys.readouterr().out)
        assert "7/7" in drawn
        with progress_bar("waiting") as bar:
            await app.wait(handles, progress=bar)
        assert "7/7" in capsys.readouterr().out


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'brokerkit\[rich\]'"), progress_bar():
        pass
