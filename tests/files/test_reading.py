"""Several files as one: includes under one root, and what each environment has otherwise."""

import os
from pathlib import Path

import pytest

from brokerkit import App, ConfigurationError, TopologyError
from brokerkit.operations import files
from brokerkit.topology import DeadLetter, Queue, Topology


def write(directory: Path, **texts: str) -> Path:
    """Files by name, with ``__`` for a slash and ``_`` for the dot; the first one."""
    made = [directory / name.replace("__", "/").replace("_", ".") for name in texts]
    for file, text in zip(made, texts.values(), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return made[0]


def problems(file: Path, env: str | None = None) -> list[str]:
    return [str(problem).replace(f"{file.parent}/", "") for problem in files.read(file, env).problems]


def test_includes_add_what_other_files_declare(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        shop_yaml="name: shop\nincludes: [common/mail.toml, events.yaml]\n"
        "queues: {orders: {bindings: [{exchange: ev}]}}",
        common__mail_toml='name = "mail"\nincludes = ["more.yml"]\n[queues.mail]\npriorities = 2',
        common__more_yml="queues: {more: {}}",
        events_yaml="includes: [common/more.yml]\nexchanges: {ev: {}}",
    )
    topology = files.load(file)
    assert topology.name == "shop"
    assert [queue.name for queue in topology.queues] == ["more", "mail", "orders"]
    assert [exchange.name for exchange in topology.exchanges] == ["ev"]
    assert files.load(tmp_path / "common/mail.toml").name == "mail", "an included file can stand alone"


def test_a_problem_of_an_included_file_is_reported_there(tmp_path: Path) -> None:
    file = write(
        tmp_path, a_yaml="includes: [b.toml]\nqueues: {q: {}}", b_toml="[queues.q]\nx = 1\n\n[queues.r]\ny = 2"
    )
    assert problems(file) == [
        "b.toml:1:9: queues.q: a.yaml:2:10 declares it, too; keep one",
        "b.toml:5:1: queues.r.y: no such field; there are " + ", ".join(Queue.__struct_fields__[1:]),
    ]


@pytest.mark.parametrize(
    "name",
    ["../secret.yaml", "sub/../../secret.yaml", "/etc/passwd", "sub/..", "", "C:/x.yaml", "..\\\\secret.yaml", "a\\0b"],
)
def test_nothing_outside_the_first_files_directory_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.yaml").write_text("queues: {secret: {}}")
    file = write(tmp_path / "root", a_yaml=f'includes: ["{name}"]')
    (problem,) = problems(file)
    assert problem.startswith("a.yaml:1:12: ")
    assert "is not a relative path without '..'" in problem


@pytest.mark.parametrize("directory", [False, True])
def test_a_symbolic_link_may_not_lead_out(tmp_path: Path, directory: bool) -> None:
    write(tmp_path / "outside", secret_yaml="queues: {secret: {}}")
    file = write(tmp_path / "root", a_yaml=f"includes: [{'link/secret.yaml' if directory else 'link.yaml'}]")
    target = tmp_path / "outside" / ("" if directory else "secret.yaml")
    (tmp_path / "root" / ("link" if directory else "link.yaml")).symlink_to(target)
    (problem,) = problems(file)
    assert "leads out of" in problem
    assert "by a symbolic link" in problem


def test_a_link_that_stays_inside_is_followed_and_a_linked_root_is_no_trouble(tmp_path: Path) -> None:
    write(tmp_path / "root", a_yaml="includes: [link.yaml]", b_yaml="queues: {q: {}}")
    (tmp_path / "root/link.yaml").symlink_to("b.yaml")
    (tmp_path / "current").symlink_to("root")
    assert files.load(tmp_path / "current/a.yaml").queues == (Queue("q"),)


def test_a_circle_of_includes_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, a_yaml="includes: [b.yaml]", b_yaml="includes: [c.yaml]", c_yaml="includes: [b.yaml]")
    assert problems(file) == [
        "c.yaml:1:12: 'b.yaml' is included in a circle, b.yaml -> c.yaml -> b.yaml; remove one of them"
    ]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    file = write(tmp_path, a_yaml="includes: [absent.yaml, sub.yaml, data.json, big.yaml, latin.toml, pipe.yaml]")
    (tmp_path / "sub.yaml").mkdir()
    (tmp_path / "big.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    (tmp_path / "latin.toml").write_bytes(b"\nname = '\xe9'")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert problems(file) == [
        "absent.yaml:1:1: there is no such file; check the name",
        "big.yaml:1:1: larger than 4 MiB; split it with includes",
        "data.json:1:1: takes a file that ends in .yaml, .yml or .toml; rename it",
        "latin.toml:2:1: is not UTF-8; save it as UTF-8",
        "pipe.yaml:1:1: there is no such file; check the name",
        "sub.yaml:1:1: is a directory, not a file; check the name",
    ]


def test_more_files_than_anybody_needs_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, a_yaml=f"includes: [{', '.join(f'f{n}.yaml' for n in range(150))}]")
    for number in range(150):
        (tmp_path / f"f{number}.yaml").write_text("")
    assert any("more than 100 files" in problem for problem in problems(file))


SHOP = """\
name: shop
queues:
  payments: {max_length: 100, priorities: 3, weights: [1, 2, 3], dead_letter: {ttl: 1d}}
  mail: {}
overlays:
  production:
    queues:
      payments: {max_length: 5000, weights: [1, 1, 1], dead_letter: {ttl: 7d, max_length: 9}}
      audit: {}
  staging: other.toml
  broken: {queues: {mail: {max_length: 0}}, includes: [x.yaml]}
"""


def test_an_overlay_changes_key_by_key_and_replaces_lists(tmp_path: Path) -> None:
    file = write(tmp_path, shop_yaml=SHOP, other_toml='name = "shop-staging"\n[queues.payments]\nmax_length = 7')
    plain, production, staging = files.load(file), files.load(file, "production"), files.load(file, "staging")
    assert [queue.max_length for queue in plain.queues] == [100, None]
    payments, mail, audit = production.queues
    assert (payments.max_length, payments.priorities, payments.weights) == (5000, 3, (1, 1, 1))
    assert (payments.dead_letter, mail, audit) == (
        DeadLetter(ttl=7 * 86400, max_length=9),
        Queue("mail"),
        Queue("audit"),
    )
    assert (staging.name, staging.queues[0].max_length) == ("shop-staging", 7)
    assert files.read(file).environments == ("broken", "production", "staging")


def test_problems_of_an_overlay_are_where_it_stands(tmp_path: Path) -> None:
    file = write(tmp_path, shop_yaml=SHOP)
    assert problems(file) == [], "what is not chosen is not judged"
    assert problems(file, "broken") == [
        "shop.yaml:11:28: queues.mail.max_length: takes a number >= 1, not 0",
        "shop.yaml:11:45: includes: an overlay has none; remove it",
    ]
    assert problems(file, "staging") == ["other.toml:1:1: there is no such file; check the name"]
    assert problems(file, "prodction") == [
        (
            "shop.yaml:1:1: overlays: there is no overlay 'prodction'; did you mean 'production'?; "
            "there are: broken, production, staging"
        )
    ]


def test_an_overlay_that_almost_names_a_queue_is_suspicious_not_wrong(tmp_path: Path) -> None:
    file = write(tmp_path, shop_yaml="queues: {payments: {}}\noverlays: {prod: {queues: {paymens: {}}}}")
    loaded = files.read(file, "prod")
    assert not loaded.problems
    assert [str(slip.finding) for slip in loaded.suspicious] == [
        "queues.paymens: the overlay declares 'paymens' anew, which the file itself has not; did you mean 'payments'?"
    ]


def test_an_overlay_may_change_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, a_yaml="queues: {a: {}}\noverlays:\n  empty:\n  other: {}")
    assert files.load(file, "empty") == files.load(file, "other") == files.load(file)


def test_overlays_of_included_files_apply_to_those(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        a_yaml="includes: [b.yaml]\nqueues: {a: {}}",
        b_yaml="queues: {b: {priorities: 2}}\noverlays: {prod: {queues: {b: {priorities: 3}}}}",
    )
    assert [queue.priorities for queue in files.load(file, "prod").queues] == [3, 1]


async def test_an_app_takes_its_topology_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, shop_yaml=SHOP + "logs: {history: {}}\ngroups: {'history@fraud': {max_deliveries: 9}}\n")
    app = App("memory://", name="shop", topology=file, topology_env="production")

    @app.task(queue="payments")
    async def pay(order: str) -> str:
        return f"paid {order}"

    @app.subscribe("history", group="fraud")
    async def check(event: dict[str, int]) -> None: ...

    topology = app.topology()
    assert {queue.name: queue.max_length for queue in topology.queues}["payments"] == 5000
    assert [group.max_deliveries for group in topology.groups] == [9], "as the file says, not as the subscriber implies"
    async with app, app.worker(concurrency=1):
        assert await (await pay.send("o-1")).result(timeout=5) == "paid o-1"


def test_an_app_whose_file_is_wrong_says_so_when_it_is_opened(tmp_path: Path) -> None:
    app = App("memory://", topology=str(write(tmp_path, shop_toml="queues.q.x = 1")))
    with pytest.raises(TopologyError, match=r"shop.toml:1:10: queues.q.x: no such field"):
        app.topology()
    with pytest.raises(ConfigurationError, match="topology_env"):
        App("memory://", topology=Topology("t"), topology_env="production")
