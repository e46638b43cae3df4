"""The rules by their codes: how grave each is, and what there is to say about it, which stands in ``rules.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

Severity = Literal["error", "warning"]

_HEAD = re.compile(r"^## (?P<code>BK\d{3}) (?P<severity>error|warning): (?P<title>.+)$", re.MULTILINE)


class Rule(msgspec.Struct, frozen=True):
    """What a code means.

    Args:
        code: ``BK101``.
        severity: ``error``: the topology cannot be used so. ``warning``: it can, and may not do what is meant.
        title: What is the matter, in a few words.
        text: Why, and what to do; Markdown.
    """

    code: str
    severity: Severity
    title: str
    text: str


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule, by its code."""
    page = files("brokerkit.operations.lint").joinpath("rules.md").read_text(encoding="utf-8")
    heads = list(_HEAD.finditer(page))
    ends = [head.start() for head in heads[1:]] + [len(page)]
    found = [_rule(head, page[head.end() : end]) for head, end in zip(heads, ends, strict=True)]
    return {rule.code: rule for rule in sorted(found, key=lambda rule: rule.code)}


def _rule(head: re.Match[str], text: str) -> Rule:
    severity: Severity = "error" if head["severity"] == "error" else "warning"
    return Rule(head["code"], severity, head["title"], re.sub(r"\n# .*", "", text, flags=re.DOTALL).strip())


def rule(code: str) -> Rule | None:
    """The rule of a code, None if there is none."""
    return rules().get(code)
