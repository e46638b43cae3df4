"""Importing the modules of a package, so that their tasks are known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brokerkit import App, ConfigurationError, DuplicateTask

TASKS = "from brokerkit import Tasks\ntasks = Tasks()\n@tasks.task\ndef {name}() -> None: ...\n"

Package = Callable[[dict[str, str]], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes modules, by path; what is imported from them is forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(modules: dict[str, str]) -> None:
        for path, text in modules.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    yield write
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("shop", "lonely"):
            del sys.modules[name]


def test_every_module_is_imported_and_what_they_collect_is_included(package: Package) -> None:
    package(
        {
            "shop/__init__.py": "",
            "shop/mail.py": TASKS.format(name="send_mail"),
            "shop/jobs/__init__.py": "from shop.mail import tasks as collected\n",
            "shop/jobs/daily.py": TASKS.format(name="tidy"),
            "shop/jobs/deep/__init__.py": "",
            "shop/jobs/deep/er.py": TASKS.format(name="dig"),
            "shop/__main__.py": "raise SystemExit('this is the program')\n",
            "shop/notes.txt": "no module",
        }
    )
    app = App("memory://")
    assert app.discover("shop") == [
        "shop", "shop.jobs", "shop.jobs.daily", "shop.jobs.deep", "shop.jobs.deep.er", "shop.mail",
    ]  # fmt: skip
    assert sorted(app.tasks) == ["dig", "send_mail", "tidy"]
    app.discover("shop")
    assert len(app.tasks) == 3


def test_an_app_of_the_package_stays_one_of_its_own_and_may_be_the_one_that_discovers(package: Package) -> None:
    package(
        {
            "shop/__init__.py": "",
            "shop/app.py": "from brokerkit import App\napp = App('memory://')\nfound = app.discover('shop')\n",
            "shop/jobs.py": "from shop.app import app\n@app.task\ndef charge() -> None: ...\n",
            "shop/other.py": "from brokerkit import App\napp = App('memory://')\n@app.task\ndef other() -> None: ...\n",
        }
    )
    from shop.app import app, found  # type: ignore[import-not-found]

    assert found == ["shop", "shop.app", "shop.jobs", "shop.other"]
    assert list(app.tasks) == ["charge"]


def test_what_was_added_to_a_collection_since_it_was_included_is_included_now(package: Package) -> None:
    package(
        {
            "shop/__init__.py": "from brokerkit import Tasks\ntasks = Tasks()\n",
            "shop/jobs.py": "from shop import tasks\n@tasks.task\ndef charge() -> None: ...\n",
        }
    )
    from shop import tasks  # type: ignore[import-not-found]

    app = App("memory://")
    app.include(tasks)
    assert list(app.tasks) == []
    app.discover("shop")
    assert list(app.tasks) == ["charge"]


def test_a_module_that_is_no_package_is_imported_alone(package: Package) -> None:
    package({"lonely.py": TASKS.format(name="charge")})
    app = App("memory://")
    assert app.discover("lonely") == ["lonely"]
    assert list(app.tasks) == ["charge"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nonesuch\n", r"ModuleNotFoundError: No module named 'nonesuch' \(.*broken\.py, line 1\); correct it"),
        ("\n\nx = 1 / 0\n", r"ZeroDivisionError: division by zero \(.*broken\.py, line 3\)"),
        ("def broken(:\n", r"SyntaxError: invalid syntax \(broken\.py, line 1\); correct"),
        ("import sys\nsys.exit('bye')\n", r"SystemExit: bye \(.*broken\.py, line 2\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_cause(package: Package, text: str, words: str) -> None:
    package({"shop/__init__.py": "", "shop/jobs/__init__.py": "", "shop/jobs/broken.py": text})
    with pytest.raises(ConfigurationError, match=rf"\(.shop.\): shop\.jobs\.broken cannot be imported: {words}"):
        App("memory://").discover("shop")


def test_what_is_excluded_is_not_imported(package: Package) -> None:
    package(
        {
            "shop/__init__.py": "",
            "shop/old/__init__.py": "raise RuntimeError\n",
            "shop/old/more.py": "raise RuntimeError\n",
            "shop/jobs/__init__.py": "",
            "shop/jobs/tests.py": "raise RuntimeError\n",
            "shop/older.py": "",
        }
    )
    found = App("memory://").discover("shop", exclude=["shop.old", "*.tests"])
    assert found == ["shop", "shop.jobs", "shop.older"]
    with pytest.raises(ConfigurationError, match=r"exclude takes several names: exclude=\['shop.old'\]"):
        App("memory://").discover("shop", exclude="shop.old")


@pytest.mark.parametrize("name", ["nonesuch", "shop.nonesuch", "nonesuch.jobs"])
def test_a_package_that_is_not_there_is_named(package: Package, name: str) -> None:
    package({"shop/__init__.py": ""})
    with pytest.raises(ConfigurationError, match=rf"discover\('{name}'\): there is no module {name}"):
        App("memory://").discover(name)


def test_two_tasks_of_one_name_are_still_an_error(package: Package) -> None:
    package(
        {
            "shop/__init__.py": "",
            "shop/a.py": TASKS.format(name="charge"),
            "shop/b.py": TASKS.format(name="charge"),
        }
    )
    with pytest.raises(DuplicateTask, match=r"'charge': shop\.a\.charge .* and shop\.b\.charge"):
        App("memory://").discover("shop")
