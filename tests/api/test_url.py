"""Which broker an app opens."""

import os
from pathlib import Path

import pytest

from brokerkit import App, ConfigurationError, ConnectFailed


async def test_an_app_without_a_url_opens_a_file_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BROKERKIT_URL", raising=False)
    async with App() as app:
        assert app.transport.capabilities.name.startswith("sqlite")
    assert (tmp_path / "brokerkit.db").is_file()


async def test_an_app_without_a_url_takes_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = App()
    monkeypatch.setenv("BROKERKIT_URL", "memory://")  # read when the app is opened, not when it is made
    async with app:
        assert app.transport.capabilities.name == "memory"
    assert not list(tmp_path.iterdir())


async def test_an_empty_variable_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROKERKIT_URL", "")
    async with App():
        pass
    assert (tmp_path / "brokerkit.db").is_file()


async def test_a_url_in_the_code_wins_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERKIT_URL", "nonsense://")
    async with App("memory://") as app:
        assert app.transport.capabilities.name == "memory"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://shop.db"])
def test_sqlite_without_a_path_is_refused_with_the_right_spelling(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:///shop\.db"):
        App(url)


async def test_sqlite_without_a_path_in_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERKIT_URL", "sqlite://")
    app = App()
    with pytest.raises(ConfigurationError, match=r"sqlite:///shop\.db"):
        await app.__aenter__()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka://localhost/", "kafka"),
        ("shop.db", "sqlite://"),
        ("", "memory://"),
        ("memory://name", "no name"),
        ("memory://?x=1", "x"),
        ("sqlite:///shop.db?lease=soon", "lease"),
        ("sqlite:///shop.db?leese=1", "leese"),
        ("http://[broken", "cannot be read"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_what_to_change(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        App(url)


def test_a_password_is_never_printed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        App("kafka://me:secret@localhost/")
    assert "secret" not in str(caught.value)
    assert "me:***@localhost" in str(caught.value)


def test_a_store_that_makes_no_sense_is_refused_when_the_app_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="no store is known"):
        App("memory://", store="kafka://localhost")._backing.chosen_store()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_cannot_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConnectFailed, match="shop"):
            async with App(f"sqlite:///{tmp_path / 'shop.db'}"):
                pass
    finally:
        tmp_path.chmod(0o700)


async def test_a_directory_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="missing"):
        async with App(f"sqlite:///{tmp_path / 'missing' / 'shop.db'}"):
            pass


async def test_where_its_broker_is_can_be_told_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert App("sqlite:///shop.db").address == "sqlite:///shop.db"
    assert App("redis://:secret@host/0").address == "redis://:***@host/0"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BROKERKIT_URL", raising=False)
    app = App()
    assert app.address == "", "the environment is asked when it is opened"
    async with app:
        assert app.address == "sqlite:///brokerkit.db"
