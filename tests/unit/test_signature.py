"""Functions as wire formats: what travels, what is bound, what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import ConfigurationError, Context, DecodeError, EncodeError
from brokerkit.codec import Limits
from brokerkit.handlers.signature import EventSignature, Parameters, Signature
from brokerkit.message import JSON, MSGPACK


async def charge(ctx: Context, order_id: str, amount: float = 1.0, *, note: str | None = None) -> str:
    return f"{ctx} {order_id} {amount} {note}"


def plain(first: int, second: int = 2, *, third: int = 3, fourth: int) -> None: ...


def bare(anything, more=None):  # type: ignore[no-untyped-def]
    return anything


def signature_of(function: Callable[..., Any]) -> Signature:
    return Signature(function, Context)


def test_a_function_is_described_once() -> None:
    signature = signature_of(charge)
    assert (signature.takes_context, signature.is_async) == (True, True)
    assert signature.names == ("order_id", "amount", "note")
    assert signature.returns is str
    assert signature.annotations == {"order_id": str, "amount": float, "note": str | None}
    assert (signature_of(plain).takes_context, signature_of(plain).is_async) == (False, False)


def test_without_annotations_everything_is_any() -> None:
    signature = signature_of(bare)
    assert signature.annotations == {"anything": Any, "more": Any}
    assert signature.returns is Any


def test_a_function_that_returns_a_coroutine_returns_what_that_gives() -> None:
    def later(number: int) -> Coroutine[Any, Any, int]:
        raise NotImplementedError

    assert signature_of(later).returns is int


def ordinary(args: tuple[int, ...], kwargs: dict[str, int]) -> dict[str, Any]:
    return inspect.signature(plain).bind(*args, **kwargs).arguments


def bound_by(bind: Callable[..., dict[str, Any]], args: tuple[int, ...], kwargs: dict[str, int]) -> object:
    """The arguments by name, or the words of the refusal."""
    try:
        return bind(args, kwargs)
    except TypeError as error:
        return str(error).removeprefix(f"{__name__}.plain: ")


ARGUMENTS = st.tuples(
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["first", "second", "third", "fourth", "fifth"]), st.integers(), max_size=4),
)


@given(ARGUMENTS)
def test_binding_agrees_with_an_ordinary_call(arguments: tuple[list[int], dict[str, int]]) -> None:
    args, kwargs = arguments
    assert bound_by(signature_of(plain).bind, tuple(args), kwargs) == bound_by(ordinary, tuple(args), kwargs)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@given(order_id=st.text(), amount=st.floats(allow_nan=False, allow_infinity=False), note=st.none() | st.text())
def test_arguments_come_back_by_name(content_type: str, order_id: str, amount: float, note: str | None) -> None:
    parameters = Parameters(signature_of(charge), Limits())
    body = parameters.encode((order_id, amount), {"note": note}, content_type)
    assert parameters.decode(body, content_type) == {"order_id": order_id, "amount": amount, "note": note}


def test_what_was_left_out_stays_out_so_that_the_receivers_default_counts() -> None:
    parameters = Parameters(signature_of(charge), Limits())
    assert parameters.decode(parameters.encode(("o-1",), {}, MSGPACK), MSGPACK) == {"order_id": "o-1"}


def test_names_that_are_not_known_are_ignored_and_missing_ones_are_not() -> None:
    parameters = Parameters(signature_of(charge), Limits())
    assert parameters.decode(b'{"order_id": "o-1", "later": [1]}', JSON) == {"order_id": "o-1"}
    with pytest.raises(DecodeError, match="order_id"):
        parameters.decode(b'{"amount": 1}', JSON)


def test_constraints_in_an_annotation_hold_at_both_ends() -> None:
    def pay(amount: Annotated[float, msgspec.Meta(gt=0)]) -> None: ...

    parameters = Parameters(signature_of(pay), Limits())
    assert parameters.decode(parameters.encode((1.0,), {}, MSGPACK), MSGPACK) == {"amount": 1.0}
    with pytest.raises(EncodeError, match="> 0"):
        parameters.encode((-1.0,), {}, MSGPACK)
    with pytest.raises(DecodeError, match="> 0"):
        parameters.decode(b'{"amount": 0}', JSON)


@pytest.mark.parametrize(
    ("value", "words"),
    [("x" * 200, "over the limit of 100"), ([[[[1]]]], "deeper than 3 levels"), (object(), "no representation")],
)
def test_arguments_over_a_limit_are_refused_at_the_sender(value: Any, words: str) -> None:
    parameters = Parameters(signature_of(bare), Limits(body=100, nesting=3))
    with pytest.raises(EncodeError, match=words):
        parameters.encode((value,), {}, MSGPACK)


def test_values_that_do_not_fit_are_refused_in_the_words_of_the_function() -> None:
    parameters = Parameters(signature_of(charge), Limits())
    with pytest.raises(EncodeError, match=r"test_signature\.charge do not fit: .*\$\.order_id"):
        parameters.encode((7,), {}, MSGPACK)


def starred(*orders: str) -> None: ...
def double_starred(**orders: str) -> None: ...
def positional(order: str, /) -> None: ...
def context_last(order: str, ctx: Context) -> None: ...
def context_keyword(*, order: str, ctx: Context) -> None: ...
def unresolved(order: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (starred, r"\*orders.*cannot travel by name"),
        (double_starred, r"\*\*orders.*cannot travel by name"),
        (positional, "order.*cannot travel by name"),
        (context_last, "'ctx' must be the first parameter"),
        (context_keyword, "'ctx' must be the first parameter"),
        (unresolved, "'Missing' is not defined; define or import the name at module level"),
    ],
)
def test_a_signature_that_cannot_travel_is_refused_with_what_to_change(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        signature_of(function)


def clashing(value: int | msgspec.Raw | list[int] | set[int]) -> None: ...


def test_an_annotation_that_cannot_be_read_from_the_wire_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="clashing"):
        Parameters(signature_of(clashing), Limits())


async def on_event(ctx: Context, event: dict[str, int]) -> None: ...
async def on_anything() -> None: ...
async def on_bytes(event: bytes) -> None: ...
async def on_two(event: int, other: int) -> None: ...


def test_a_subscriber_takes_the_whole_event_as_one_parameter() -> None:
    signature = EventSignature(on_event, Context)
    decode = signature.decoder(Limits())
    assert (signature.takes_context, signature.is_async, signature.name) == (True, True, "event")
    assert decode(b'{"a": 1}', JSON) == {"event": {"a": 1}}
    with pytest.raises(DecodeError):
        decode(b'{"a": "x"}', JSON)
    with pytest.raises(ConfigurationError, match=r"one parameter, not 2 \(event, other\)"):
        EventSignature(on_two, Context)


def test_a_subscriber_without_a_parameter_or_with_bytes_takes_any_body() -> None:
    assert EventSignature(on_anything, Context).decoder(Limits())(b"\xc1", "text/plain") == {}
    assert EventSignature(on_bytes, Context).decoder(Limits())(b"\xc1", "text/plain") == {"event": b"\xc1"}
