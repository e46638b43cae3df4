"""Dependencies as they are read and planned: what is refused where it is written, and what is made when."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from brokerkit import App, ConfigurationError, Context, Depends, Queue, Tasks
from brokerkit.handlers.dependencies import Dependency
from brokerkit.handlers.injection import Graph, Injector, Kind, Planner, kind_of
from brokerkit.handlers.overrides import Overrides


class Session: ...


async def session() -> AsyncIterator[Session]:
    yield Session()


def plain() -> int:
    return 1


async def coroutine() -> int:
    return 1


def generator() -> Iterator[int]:
    yield 1


class Callables:
    def __call__(self, number: int = 1) -> int:
        return number

    async def method(self) -> int:
        return 1


class AsyncCallable:
    tenant: int

    async def __call__(self, ctx: Context) -> int:
        return 1


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (plain, Kind.PLAIN),
        (Callables, Kind.PLAIN),
        (Callables(), Kind.PLAIN),
        (dict, Kind.PLAIN),
        (coroutine, Kind.COROUTINE),
        (AsyncCallable(), Kind.COROUTINE),
        (Callables().method, Kind.COROUTINE),
        (functools.partial(coroutine), Kind.COROUTINE),
        (generator, Kind.GENERATOR),
        (session, Kind.ASYNC_GENERATOR),
        (functools.partial(functools.partial(session)), Kind.ASYNC_GENERATOR),
    ],
)
def test_what_a_call_gives_is_seen_through_partials_methods_and_instances(
    function: Callable[..., Any], kind: Kind
) -> None:
    assert kind_of(function) is kind


def test_what_it_stands_for_is_seen_in_texts() -> None:
    assert repr(Depends(plain)) == "Depends(tests.unit.test_dependencies.plain)"
    assert repr(Depends(functools.partial(plain))) == "Depends(tests.unit.test_dependencies.plain)"
    assert "AsyncCallable" in repr(Depends(AsyncCallable()))


async def test_a_function_called_directly_without_a_value_says_what_to_pass() -> None:
    @Tasks().task
    async def charge(db: Session = Depends(session)) -> Any:
        return db.execute  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match=r"Depends\(.*session\) is put in place by a worker; who calls .* passes"):
        await charge()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((3,), {}, "takes the function itself, without calling it, not 3"),
        ((session(),), {}, "takes the function itself, without calling it, not <async_generator"),
        ((plain,), {"scope": "app"}, r"scope='app'\): choose \"message\" or \"worker\""),
        ((plain,), {"scope": "worker", "cache": False}, "one for all"),
    ],
)
def test_depends_refuses_what_makes_no_sense(arguments: tuple[Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Depends(*arguments, **options)


def needs_a_number(number: int) -> None: ...
def needs_it_by_position(number: int, /) -> None: ...
def takes_anything(*args: int, **options: int) -> None: ...
def below(value: None = Depends(needs_a_number)) -> None: ...
def positional_only(db: Session = Depends(session), /) -> None: ...
def unresolved(number: Missing = 1) -> None: ...  # type: ignore[name-defined] # noqa: F821
def twice(db: Annotated[Session, Depends(session)] = Depends(session)) -> None: ...
def with_context(ctx: Context) -> None: ...
def of_worker_with_context(value: None = Depends(with_context, scope="worker")) -> None: ...
def of_worker_below(number: int = Depends(plain)) -> None: ...
def of_worker_on_message(value: None = Depends(of_worker_below, scope="worker")) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (needs_a_number, r"needs_a_number: a dependency's parameter 'number' gets no value; .* read ctx\.args"),
        (needs_it_by_position, "'number' gets no value"),
        (below, "needs_a_number: .*'number' gets no value"),
        (positional_only, "'db' is injected by keyword; it cannot be positional only"),
        (unresolved, "unresolved: an annotation cannot be resolved: name 'Missing' is not defined"),
        (twice, "'db' has Depends twice"),
        (of_worker_with_context, "with_context lives as long as the worker, so it cannot take a message's context"),
        (of_worker_on_message, r"of_worker_below lives as long as the worker, so it cannot depend on .*plain"),
        (max, r"builtins\.max has no signature; wrap it: Depends\(lambda: ...\)"),
    ],
)
def test_a_dependency_that_cannot_be_made_is_refused_where_the_task_is_declared(
    function: Callable[..., Any], words: str
) -> None:
    def handler(value: Any = Depends(function)) -> None: ...

    for declare in (Tasks().task, Tasks().subscribe(Queue("q")), Tasks().handler("*")):
        with pytest.raises(ConfigurationError, match=words):
            declare(handler)


def test_a_dependency_may_have_optional_and_variable_parameters() -> None:
    nodes = Graph().nodes(depends(a=takes_anything, b=Callables(), c=with_context))
    assert [node.context for node in nodes.values()] == [None, None, "ctx"]


def annotated(order_id: str, db: Annotated[Session, Depends(session)]) -> None: ...
def annotated_with_default(order_id: str, db: Annotated[Session | None, Depends(session)] = None) -> None: ...
def injected_first(db: Session = Depends(session), order_id: str = "") -> None: ...
def keyword_after(db: Session = Depends(session), *, order_id: str) -> None: ...
def event_after(db: Annotated[Session, Depends(session)], event: dict[str, int]) -> None: ...


def test_senders_of_a_task_are_never_asked_for_what_is_injected() -> None:
    tasks = Tasks()
    with pytest.raises(ConfigurationError, match=r"would ask every sender for 'db'; .*: db = Depends\(.*session\)"):
        tasks.task(annotated)
    assert tasks.task(annotated_with_default).signature.names == ("order_id",)
    tasks.subscribe("q")(event_after)
    tasks.handler("*")(event_after)


def test_a_positional_argument_means_the_same_to_a_type_checker_and_to_us() -> None:
    tasks = Tasks()
    with pytest.raises(ConfigurationError, match=r"'order_id' travels, so it must come before 'db', which is injected"):
        tasks.task(injected_first)
    assert tasks.task(keyword_after).signature.names == ("order_id",)


def test_what_is_injected_cannot_be_sent() -> None:
    @Tasks().task
    def charge(order_id: str, db: Session = Depends(session)) -> None: ...

    charge.message("o-1")
    charge.message(order_id="o-1")
    with pytest.raises(TypeError, match="charge: db is injected by the worker and does not travel"):
        charge.message("o-1", db=Session())
    with pytest.raises(TypeError, match="too many positional arguments"):
        charge.message("o-1", Session())


def test_a_body_cannot_smuggle_in_what_is_injected() -> None:
    @Tasks().task
    def charge(order_id: str, db: Session = Depends(session)) -> None: ...

    assert charge.parameters.decode(b'{"order_id": "o-1", "db": 1}', "application/json") == {"order_id": "o-1"}


def depends(**functions: Any) -> dict[str, Dependency]:
    return {name: each if isinstance(each, Dependency) else Depends(each) for name, each in functions.items()}


def on_thread(number: int = Depends(plain)) -> int:
    return number


async def on_loop(number: int = Depends(plain)) -> int:
    return number


def test_in_a_thread_is_made_what_nothing_on_the_event_loop_needs() -> None:
    plan = Planner(in_thread=True).plan(Graph().nodes(depends(a=on_thread, b=generator, c=coroutine)))
    assert [step.make for step in plan.outside] == [coroutine]
    assert [step.kind for step in plan.inside] == [Kind.PLAIN, Kind.PLAIN, Kind.GENERATOR]
    shared = Planner(in_thread=True).plan(Graph().nodes(depends(a=on_thread, b=on_loop)))
    assert [step.make for step in shared.outside] == [plain, on_loop]
    assert [step.make for step in shared.inside] == [on_thread]
    everything = Planner().plan(Graph().nodes(depends(a=on_thread, b=generator)))
    assert (len(everything.outside), everything.inside) == (3, ())


def test_what_is_not_shared_is_made_for_each_place_and_no_oftener() -> None:
    own = Depends(plain, cache=False)

    def one(number: int = own) -> None: ...

    nodes = Graph().nodes(depends(a=one, b=own, c=plain, d=plain))
    assert [step.make for step in Planner().plan(nodes).outside] == [plain, one, plain, plain]
    assert len(Planner(in_thread=True).plan(nodes).inside) == 4


def test_a_handler_without_dependencies_has_no_plan() -> None:
    assert Injector().plan({}, {}, in_thread=False) is None


def test_a_value_of_the_worker_is_there_already() -> None:
    pool = Depends(plain, scope="worker")

    def uses(number: int = pool) -> None: ...

    injector = Injector()
    dependencies = depends(a=uses, b=pool)
    assert [node.function for node in injector.of_worker([dependencies])] == [plain, plain]
    plan = injector.plan(dependencies, {plain: 7}, in_thread=False)
    assert plan is not None
    assert [(step.make, step.constants) for step in plan.outside] == [(uses, {"number": 7})]
    assert (plan.constants, [name for name, _ in plan.arguments]) == ({"b": 7}, ["a"])


def test_one_function_has_one_scope() -> None:
    graph = Graph()
    graph.nodes(depends(a=plain))
    with pytest.raises(ConfigurationError, match="plain is used with scope='message' and with scope='worker'; choose"):
        graph.nodes(depends(a=Depends(plain, scope="worker")))


def test_an_override_may_depend_on_what_it_replaces_and_on_nothing_that_goes_round() -> None:
    def fake(number: int = Depends(plain)) -> int:
        return number + 1

    (node,) = Graph({plain: fake}).nodes(depends(a=plain)).values()
    assert (node.function, node.below["number"].function) == (fake, plain)

    def other(number: int = Depends(coroutine)) -> int:
        return number

    def back(number: int = Depends(other)) -> int:
        return number

    with pytest.raises(ConfigurationError, match="other depends on itself"):
        Graph({coroutine: back}).nodes(depends(a=other))


def test_overrides_are_put_back_and_cannot_come_too_late() -> None:
    overrides = Overrides()
    with overrides.replacing(plain, coroutine):
        with overrides.replacing(plain, generator), overrides.reading() as seen:
            assert seen == {plain: generator}
            with (
                pytest.raises(ConfigurationError, match=r"override .*plain before the worker starts"),
                overrides.replacing(plain, coroutine),
            ):
                pass
        with overrides.reading() as seen:
            assert seen == {plain: coroutine}
    with overrides.reading() as seen:
        assert seen == {}
    with pytest.raises(ConfigurationError, match=r"takes a function: lambda: 3"), overrides.replacing(plain, 3):  # type: ignore[arg-type]
        pass


def test_a_generator_function_is_still_no_task() -> None:
    with pytest.raises(ConfigurationError, match="is a generator function: calling it runs nothing"):
        App("memory://").task(session)
