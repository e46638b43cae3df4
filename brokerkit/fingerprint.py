"""What makes two errors the same: their kind, their text without what differs from message to message, and the task."""

from __future__ import annotations

import re
from hashlib import blake2b

LOOKED_AT = 300
"""Characters of an error's text that count; what follows is rarely more than data."""

_KIND = re.compile(r"([A-Za-z_][\w.]*)(?::\s|$)")
_VARYING = re.compile(
    r"""
    \w+://[^\s'"<>]+            # a URL, with whatever it asks for
  | [^\s'"<>=,;()]+@[\w.-]+     # an e-mail address
  | (?<![\w.])(?:[A-Za-z]:\\|/)[^\s'",;:)]+   # a path
  | [\w.:+/-]*\d[\w.:+/-]*      # a number, a time, a network or memory address, an id: all words with a digit
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"\s+")


def kind_of(error: str, otherwise: str) -> str:
    """The type of an error, as its text begins with it: ``ValueError``, ``payments.errors.CardRefused``.

    Args:
        error: The text, "type: message".
        otherwise: What it is called when the text does not begin with a type.
    """
    found = _KIND.match(error)
    return found[1] if found is not None else otherwise


def normalised(text: str) -> str:
    """The text with ``#`` in place of what differs from message to message: numbers, ids, addresses, paths."""
    return _SPACE.sub(" ", _VARYING.sub("#", text[:LOOKED_AT])).strip()


def fingerprint(kind: str, text: str, task: str) -> str:
    """12 hexadecimal digits, the same in every process and version for errors that are the same.

    Args:
        kind: The error's type.
        text: Its text, normalised.
        task: The wire name of the task or event.
    """
    return blake2b(f"{kind}\0{text}\0{task}".encode("utf-8", "replace"), digest_size=6).hexdigest()
