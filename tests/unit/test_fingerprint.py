"""What counts as the same failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import DeadMessage
from brokerkit.fingerprint import LOOKED_AT, fingerprint, kind_of, normalised
from brokerkit.message import Message
from brokerkit.outcome import Reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 not found", "order 4711 not found"),
        ("no user 3f2b9c1e-52aa-4e0b-9f0b-0a4f6c1d2e3f", "no user 0b1c2d3e-1111-4e0b-9f0b-ffffffffffff"),
        ("connect to 10.0.0.1:5432 failed", "connect to 192.168.7.12:5433 failed"),
        ("connect to [fe80::1]:80 failed", "connect to [2001:db8::2]:80 failed"),
        ("<Order object at 0x7f2a30b2c1d0> is closed", "<Order object at 0x55d0c8e91a40> is closed"),
        ("timed out after 3.25 s", "timed out after 10 s"),
        ("due 2026-11-29T10:15:04Z", "due 2025-01-02T00:00:00Z"),
        ("anna@example.com is unknown", "bob.b+x@mail.example.org is unknown"),
        ("GET https://api.example.com/a?b=c failed", "GET https://other.example.com/ failed"),
        ("no such file: '/var/data/anna.json'", "no such file: '/srv/bob/photo.png'"),
        ("card ord_8f3kq2 refused", "card ord_77zzA1 refused"),
        ("two\n  lines", "two lines"),
        ("x" * LOOKED_AT + "one", "x" * LOOKED_AT + "another"),
    ],
)
def test_what_differs_from_message_to_message_does_not_count(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("'order_id'", "'amount'"),
        ("card refused", "card expired"),
        ("Client error '404 Not Found'", "Server error '503 Service Unavailable'"),
        ("", "no"),
    ],
)
def test_what_tells_causes_apart_counts(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ValueError: no", "ValueError"),
        ("payments.errors.CardRefused: no", "payments.errors.CardRefused"),
        ("Outer.Inner", "Outer.Inner"),
        ("expired: RabbitMQ dead-lettered it from payments", "expired"),
        ("not started before it expired", "expired"),
        ("", "expired"),
        ("12: no", "expired"),
    ],
)
def test_the_kind_of_an_error_is_what_its_text_begins_with(text: str, kind: str) -> None:
    assert kind_of(text, "expired") == kind


def test_a_fingerprint_is_the_same_for_ever() -> None:
    assert fingerprint("ValueError", "ValueError: order #", "charge") == "72242ff92d18"


def test_kind_text_and_task_each_make_a_difference() -> None:
    found = {fingerprint(*parts) for parts in [("a", "b", "c"), ("a", "bc", ""), ("", "ab", "c"), ("a", "b", "d")]}
    assert len(found) == 4


def test_dead_letters_of_the_same_cause_share_a_fingerprint() -> None:
    def dead(error: str, name: str = "charge") -> str:
        message = Message(id="m", name=name, body=b"")
        letter = DeadMessage(message=message, source="q", reason=Reason.FAILED, error=error, deliveries=1, died=1.0)
        return letter.fingerprint

    assert dead("ValueError: order 1") == dead("ValueError: order 2")
    assert dead("ValueError: order 1") != dead("KeyError: order 1")
    assert dead("ValueError: order 1") != dead("ValueError: order 1", "refund")


@given(st.text(max_size=600))
def test_any_text_has_one_line_and_a_fingerprint(text: str) -> None:
    once = normalised(text)
    assert len(once.splitlines()) <= 1
    assert len(once) <= LOOKED_AT
    assert len(fingerprint(kind_of(text, "failed"), once, text)) == 12
