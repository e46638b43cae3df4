"""What is wrong with a topology, or may not be meant: rules with codes, for any broker and for one in one version.

``portable`` and ``abilities`` have the rules for all brokers, the adapters' dialects those of theirs; ``rules`` knows
what each code means, ``ignoring`` what somebody has opted out of, ``reporting`` and ``sarif`` how it looks.
"""

from brokerkit.operations.lint.ignoring import Ignore, ignores_in
from brokerkit.operations.lint.linting import Found, Subject, lint, lint_app, lint_file
from brokerkit.operations.lint.rules import Rule, Severity, rule, rules
from brokerkit.operations.lint.work import Work

__all__ = [
    "Found",
    "Ignore",
    "Rule",
    "Severity",
    "Subject",
    "Work",
    "ignores_in",
    "lint",
    "lint_app",
    "lint_file",
    "rule",
    "rules",
]
