"""The codec: what goes in comes out, and what is too deep or too large never reaches a decoder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerkit.codec import Decoder, Limits, check_nesting, encode
from brokerkit.errors import DecodeError, EncodeError
from brokerkit.message import JSON, MSGPACK

BOTH = pytest.mark.parametrize("content_type", [MSGPACK, JSON])
BRACKETS = st.text(alphabet='[]{}",:\\/ab\n\u2028é')
TEXT = st.text() | BRACKETS
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=30
)
plain: Decoder[Any] = Decoder(Any, Limits())


class Order(msgspec.Struct):
    order_id: str
    lines: list[tuple[int, float]]
    note: str | None = None
    tags: frozenset[str] = frozenset()


ORDERS = st.builds(
    Order, TEXT, st.lists(st.tuples(st.integers(0, 2**31), st.floats(allow_nan=False, allow_infinity=False))),
    st.none() | TEXT, st.frozensets(TEXT),
)  # fmt: skip


@BOTH
@given(value=VALUES)
def test_plain_values_come_back_as_they_were(content_type: str, value: Any) -> None:
    assert plain.decode(encode(value, content_type), content_type) == value


@BOTH
@given(order=ORDERS)
def test_typed_values_come_back_as_they_were(content_type: str, order: Order) -> None:
    assert Decoder[Order](Order, Limits()).decode(encode(order, content_type), content_type) == order


@given(body=st.binary(max_size=200), content_type=st.sampled_from([MSGPACK, JSON, "text/plain", "", "a;b"]))
@example(b"\xc1", MSGPACK)
@example(b"\xdf\xff\xff\xff\xff", MSGPACK)
@example(b'"\\ud800"', JSON)
def test_any_bytes_give_a_value_or_a_decode_error(body: bytes, content_type: str) -> None:
    for decoder in (plain, Decoder[Order](Order, Limits(nesting=3))):
        with suppress(DecodeError):
            decoder.decode(body, content_type)


@BOTH
@given(value=VALUES, cut=st.integers(1, 50))
def test_a_truncated_body_is_a_decode_error(content_type: str, value: Any, cut: int) -> None:
    body = encode([value], content_type)
    with pytest.raises(DecodeError):
        plain.decode(body[: max(0, len(body) - cut)], content_type)


def depth_of(value: Any, empty: int = 1) -> int:
    """The reference: how deeply lists and maps are nested in a value; an empty one counts as ``empty`` levels.

    One without items takes no level of the decoder's stack, and the scan of MessagePack does not count it.
    """
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        return 0
    return 1 + max(depth_of(item, empty) for item in inner) if inner else empty


def scan_agrees(body: bytes, content_type: str, depth: int, limit: int) -> None:
    """The codec refuses a body exactly when the reference says that it is deeper than the limit."""
    try:
        check_nesting(body, content_type, Limits(nesting=limit))
        refused = False
    except EncodeError:
        refused = True
    assert refused is (depth > limit), (body, depth, limit)


@given(value=VALUES, limit=st.integers(0, 6))
def test_the_depth_of_json_is_measured_right(value: Any, limit: int) -> None:
    for body in (encode(value, JSON), json.dumps(value, indent=1).encode()):
        scan_agrees(body, JSON, depth_of(value), limit)


@given(value=VALUES, limit=st.integers(0, 6))
def test_the_depth_of_msgpack_is_measured_right(value: Any, limit: int) -> None:
    scan_agrees(encode(value, MSGPACK), MSGPACK, depth_of(value, empty=0), limit)


SIZES = st.sampled_from([0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])


@given(size=SIZES, kind=st.sampled_from(["text", "bytes", "list", "map", "extension"]), limit=st.integers(1, 3))
def test_every_width_of_length_is_skipped_right(size: int, kind: str, limit: int) -> None:
    filled: dict[str, Callable[[], Any]] = {
        "text": lambda: "\x91" * size,
        "bytes": lambda: b"\x91" * size,
        "list": lambda: [1] * size,
        "map": lambda: dict.fromkeys(range(size), 1),
        "extension": lambda: msgspec.msgpack.Ext(5, b"\x91" * size),
    }
    value = [filled[kind](), [[1]]]
    scan_agrees(msgspec.msgpack.encode(value), MSGPACK, depth_of(value, empty=0), limit)


@given(body=st.binary(min_size=1, max_size=300), limit=st.integers(0, 5))
def test_bytes_that_a_decoder_accepts_are_never_deeper_than_the_limit(body: bytes, limit: int) -> None:
    decoder: Decoder[Any] = Decoder(Any, Limits(nesting=limit))
    for content_type in (MSGPACK, JSON):
        try:
            value = decoder.decode(body, content_type)
        except DecodeError:
            continue
        assert depth_of(value, empty=0) <= limit


NEST: dict[str, Callable[[int], bytes]] = {
    MSGPACK: lambda depth: b"\x91" * depth + b"\xc0",
    JSON: lambda depth: b"[" * depth + b"]" * depth,
}


@BOTH
@pytest.mark.parametrize("limit", [1, 2, 64])
def test_the_limit_itself_is_allowed_and_one_more_is_not(content_type: str, limit: int) -> None:
    decoder: Decoder[Any] = Decoder(Any, Limits(nesting=limit))
    decoder.decode(NEST[content_type](limit), content_type)
    with pytest.raises(DecodeError, match=f"deeper than {limit} levels"):
        decoder.decode(NEST[content_type](limit + 1), content_type)


@BOTH
@pytest.mark.parametrize("depth", [64, 65, 500, 1 << 19])
def test_a_nesting_bomb_does_no_harm_in_a_thread_with_a_small_stack(content_type: str, depth: int) -> None:
    found: list[object] = []

    def work() -> None:
        try:
            found.append(type(plain.decode(NEST[content_type](depth), content_type)))
        except DecodeError as error:
            found.append(str(error))

    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    finally:
        threading.stack_size(before)
    assert found == [list if depth == 64 else "body is nested deeper than 64 levels"]


@BOTH
def test_a_body_over_the_limit_is_refused_before_it_is_read(content_type: str) -> None:
    decoder: Decoder[Any] = Decoder(Any, Limits(body=100))
    body = encode("x" * (100 - len(encode("x" * 90, content_type)) + 90), content_type)
    assert len(body) == 100
    assert decoder.decode(body, content_type)
    with pytest.raises(DecodeError, match="body of 101 bytes is over the limit of 100"):
        decoder.decode(b"\xc1" * 101, content_type)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
def test_a_content_type_is_read_without_its_parameters(content_type: str) -> None:
    assert plain.decode(b"[1]", content_type) == [1]


def test_what_has_no_representation_is_an_encode_error() -> None:
    class Opaque:
        pass

    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="cannot encode"):
        encode(2**65, MSGPACK)  # JSON has no such limit
    for value in (Opaque(), loop, "\ud800", {"a": Opaque()}):
        for content_type in (MSGPACK, JSON):
            with pytest.raises(EncodeError, match="cannot encode"):
                encode(value, content_type)
    with pytest.raises(EncodeError, match="is unknown"):
        encode(1, "application/x-python-pickle")


def test_an_exception_of_a_users_type_says_that_the_body_does_not_fit() -> None:
    class Even(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ZeroDivisionError("odd")

    decoder: Decoder[Even] = Decoder(Even, Limits())
    assert decoder.decode(b"\x81\xa6number\x02").number == 2
    with pytest.raises(DecodeError, match=r"does not fit: .*odd"):
        decoder.decode(b"\x81\xa6number\x01")
