"""Dead letters of an open app: filtered, grouped by what failed, sent back one first, deleted."""

from brokerkit.deadletters.desk import DeadLetterDesk
from brokerkit.deadletters.grouping import DeadLetterGroup, DeadLetterGroups
from brokerkit.deadletters.selecting import DeadLetterFilter

__all__ = ["DeadLetterDesk", "DeadLetterFilter", "DeadLetterGroup", "DeadLetterGroups"]
