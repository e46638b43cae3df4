"""What is wrong is one line on stderr, without a traceback, and an exit code."""

import sqlite3
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from brokerkit import BrokerkitError, ConfigurationError, MissingCapability, TopologyError
from brokerkit.cli import commands
from brokerkit.cli.errors import ExitCode, Refusal, explained
from tests.cli.programs import run


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere:app", "there is no module nowhere in"),
        ("shop:nothing", "it has shop:app"),
        ("shop:not_an_app", "is a int, not a brokerkit App; it has shop:app"),
        ("shop:app.__class__", "names something private"),
        ("__main__:app", "names something private"),
        ("shop.py", "is a path; name the module: shop:app"),
        ("shop:app:app", "is not module:attr"),
        ("", "is not module:attr"),
        ("shop.sub:app", "there is no module shop.sub"),
        ("broken", "ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("wrong", "SyntaxError"),
        ("needy", "No module named 'absent' (needy.py, line 1)"),
        ("leaving", "SystemExit"),
        ("mistaken", "no broker is known for 'shop.db'"),
        ("mistaken", "(mistaken.py, line 2); correct it"),
        ("queue", "rename your queue.py"),
    ],
)
def test_a_wrong_app_is_one_line(shop: Path, target: str, words: str) -> None:
    (shop / "broken.py").write_text("def f():\n    return 1 / 0\nf()\n")
    (shop / "wrong.py").write_text("x = = 1\n")
    (shop / "needy.py").write_text("import absent\n")
    (shop / "leaving.py").write_text("raise SystemExit(0)\n")
    (shop / "queue.py").write_text("app = 1\n")
    (shop / "mistaken.py").write_text("from brokerkit import App\napp = App('shop.db')\n")
    done = run(shop, "worker", target)
    assert done.returncode == ExitCode.USAGE
    assert_one_line(done.stderr, words)


def test_a_package_that_cannot_be_discovered_and_a_lifespan_that_fails_are_one_line(shop: Path) -> None:
    done = run(shop, "worker", "shop", "--discover", "jobs")
    assert done.returncode == ExitCode.USAGE
    assert_one_line(done.stderr, "discover('jobs'): there is no module jobs")
    (shop / "down.py").write_text(
        "from shop import app\n@app.lifespan\ndef pool():\n    raise OSError('postgres is down')\n    yield\n"
    )
    done = run(shop, "worker", "down")
    assert done.returncode == ExitCode.FAILED
    assert_one_line(done.stderr, "down.pool failed, so the worker takes no messages: OSError: postgres is down")


def test_a_wrong_app_is_reported_once_by_several_processes(shop: Path) -> None:
    done = run(shop, "worker", "nowhere", "--processes", "3")
    assert done.returncode == ExitCode.USAGE
    assert_one_line(done.stderr, "there is no module nowhere")


def test_the_traceback_is_shown_on_request(shop: Path) -> None:
    (shop / "broken.py").write_text("1 / 0\n")
    done = run(shop, "queue", "stats", "--app", "broken", "--traceback")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: broken cannot be imported")


def test_only_app_dir_is_added_to_the_path(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert run(elsewhere, "queue", "stats", "--app", "shop", "--app-dir", str(shop)).returncode == 0
    done = run(shop, "queue", "stats", "--app", "shop", "--app-dir", str(elsewhere))
    assert_one_line(done.stderr, f"there is no module shop in {elsewhere}")


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("carrier-pigeon://loft", 2, "no broker is known"),
        ("sqlite://", 2, "sqlite needs a file"),
        ("sqlite:///{tmp}/absent.db", 1, "there is no file"),
        ("sqlite:///{tmp}", 1, "is a directory"),
        ("sqlite:///{tmp}/text", 1, "is not an SQLite database; name another file"),
        ("sqlite:///{tmp}/foreign.db", 1, "is the SQLite database of another program; name another file"),
        ("memory://", 2, "give the app a broker that is shared"),
    ],
)
def test_a_wrong_url_is_one_line(tmp_path: Path, url: str, code: int, words: str) -> None:
    (tmp_path / "text").write_text("no database " * 200)
    with sqlite3.connect(tmp_path / "foreign.db") as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    done = invoke("queue", "stats", "payments", "--url", url.format(tmp=tmp_path))
    assert done.exit_code == code
    assert_one_line(done.stderr, words)
    assert not (tmp_path / "absent.db").exists()


def test_a_password_is_never_printed() -> None:
    done = invoke("queue", "stats", "payments", "--url", "carrier-pigeon://me:secret@loft")
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["queue", "stats"], "say which app"),
        (["queue", "stats", "--app", "a:b", "--url", "memory://"], "not both"),
        (["dlq", "show", "payments"], "Missing argument 'ID'; see brokerkit dlq show --help"),
        (["worker"], "Missing argument"),
        (["worker", "shop", "--concurrency", "0"], "0 is not in the range"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], words: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == ExitCode.USAGE
    assert_one_line(done.stderr, words)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (Refusal("no\nway", ExitCode.HARD), "no way", 4),
        (TopologyError(["queues.a: one", "queues.b: two"]), "queues.a: one; queues.b: two", 2),
        (ConfigurationError("wrong"), "wrong", 2),
        (MissingCapability("cannot"), "cannot", 1),
        (BrokerkitError("away"), "away", 1),
        (click.FileError("x", "gone"), "Could not open file 'x': gone", 1),
        (PermissionError("not yours"), "not yours", 1),
        (ValueError("odd"), "unexpected ValueError: odd; run it with --traceback to see where", 1),
    ],
)
def test_every_error_is_one_line_and_a_code(error: Exception, text: str, code: int) -> None:
    assert explained(error) == (text, code)


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"BROKERKIT_URL": "", "BROKERKIT_DEBUG": ""}).invoke(
        commands, list(arguments), prog_name="brokerkit"
    )


def assert_one_line(text: str, words: str) -> None:
    assert words in text
    assert len(text.strip().splitlines()) == 1, text
    assert text.startswith("Error: ")


@pytest.mark.parametrize("group", [[], ["task"], ["topology"], ["queue"]])
def test_what_is_listed_in_a_help_is_not_cut_off(group: list[str]) -> None:
    listed = CliRunner().invoke(commands, [*group, "--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed
