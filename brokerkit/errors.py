"""Every error brokerkit raises, named by what the caller can do about it.

    BrokerkitError
    ├── ConfigurationError          fix the code or the settings
    │   ├── TopologyError           the topology contradicts itself: every problem is listed
    │   ├── DuplicateTask           two tasks, or two subscribers, claim the same messages
    │   └── MissingCapability       the broker or store cannot do what is asked
    ├── TopologyConflict            the broker already has an object of that name with other attributes
    ├── PlanRefused                 a change of topology is refused as things are; the text says what to do
    │   ├── PlanOutdated            the broker has changed since the plan was made
    │   ├── DataAtRisk              it would delete messages
    │   └── ApplyUnderWay           somebody else changes the topology
    ├── TransportError              the broker, or the way to it
    │   ├── ConnectFailed           nobody there, or it refused us
    │   ├── ConnectionLost          it went away; brokerkit reconnects by itself
    │   ├── BrokerBlocked           it takes no messages for now
    │   └── PublishFailed           one message was not accepted
    │       ├── Unroutable          no binding matches
    │       ├── NotConfirmed        the broker refused it
    │       ├── QueueFull           a queue's limit is reached
    │       └── PublishUnknown      no answer before the deadline: it may or may not be there
    ├── StoreError                  the store of records
    │   └── ResultTooLarge          a result over the store's limit
    ├── DeadLetterError             dead letters were left where they are: look at them again
    │   ├── CanaryFailed            the one that was sent back first did not succeed
    │   └── CountMismatch           there are more or fewer than was said
    ├── LifespanFailed              what a worker needs could not be entered; it has taken no message
    ├── CodecError
    │   ├── EncodeError             a value cannot be sent
    │   └── DecodeError             a body cannot be read, or does not fit the annotations
    └── TaskError                   what became of a task, raised by ``handle.result()``
        ├── TaskFailed              its last attempt raised
        │   └── RetriesExhausted    ... and no retries were left
        ├── TaskTimedOut            its last attempt exceeded its timeout
        ├── TaskCancelled           it was cancelled
        ├── TaskExpired             it was not started before it expired
        └── TaskNotFound            nobody knows a task of this id

``RetryLater`` and ``GiveUp`` are not errors: a handler raises them to choose its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class BrokerkitError(Exception):
    """The root: catch it to catch everything brokerkit raises."""


class ConfigurationError(BrokerkitError):
    """The program or its settings are wrong; retrying does not help."""


class TopologyError(ConfigurationError):
    """The topology contradicts itself.

    Args:
        problems: One line per problem, each beginning with the path of what is wrong
            (``queues.payments.bindings[0]: ...``).
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(f"{head} in the topology:\n" + "\n".join(f"  {line}" for line in self.problems))


class DuplicateTask(ConfigurationError):
    """Two tasks of one name, or two subscribers for the same messages."""


class MissingCapability(ConfigurationError):
    """The broker or the store cannot do what is asked; the message says which one can."""


class TopologyConflict(BrokerkitError):
    """The broker has an object of this name with other attributes.

    Args:
        entity: The object, as ``queue payments``.
        attribute: The attribute that differs.
        wanted: Its value in this program's topology.
        found: Its value at the broker.
        owner: The app that declared it, where the broker knows.
    """

    def __init__(self, entity: str, attribute: str, wanted: object, found: object, owner: str = "") -> None:
        self.entity, self.attribute, self.wanted, self.found, self.owner = entity, attribute, wanted, found, owner
        declared = f" (declared by app {owner!r})" if owner else ""
        super().__init__(
            f"{entity} exists with {attribute}={found!r}{declared}, but this program wants {attribute}={wanted!r}; "
            f"make the two agree (brokerkit topology plan says what would change), or use another name"
        )


class PlanRefused(BrokerkitError):
    """A change of topology is refused as things are; nothing was changed, or only what had been reported."""


class PlanOutdated(PlanRefused):
    """The broker has changed since the plan was made.

    Args:
        what: What is different now.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"the broker has changed since this was planned ({what}); plan again")


class DataAtRisk(PlanRefused):
    """Messages would be deleted.

    Args:
        held: Where they are.
        count: How many there are.
        allowed: How many may be deleted.

    Attributes:
        count: As given.
    """

    def __init__(self, held: str, count: int, allowed: int) -> None:
        self.count = count
        super().__init__(
            f"this deletes {count} messages ({held}), and {allowed or 'none'} may be lost; "
            f"consume or move them first, or say --allow-data-loss {count}"
        )


class ApplyUnderWay(PlanRefused):
    """Somebody else changes the topology of this broker."""


class TransportError(BrokerkitError):
    """The broker, or the way to it, failed."""


class ConnectFailed(TransportError):
    """The broker could not be reached or opened."""


class ConnectionLost(TransportError):
    """The connection ended while it was in use."""


class BrokerBlocked(TransportError):
    """The broker takes no messages for now (a memory or disk alarm)."""


class PublishFailed(TransportError):
    """One message, or some messages of a batch, were not accepted by the broker.

    Attributes:
        failed: Ids of the messages that were not accepted, with the broker's answer (a ``transport.Published``).
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.failed: Mapping[str, object] = {}


class Unroutable(PublishFailed):
    """No queue is bound for this exchange and routing key, and there is no alternate exchange."""


class NotConfirmed(PublishFailed):
    """The broker refused the message."""


class QueueFull(PublishFailed):
    """A queue on the message's way has reached its ``max_length``, or the disk is full."""


class PublishUnknown(PublishFailed):
    """The deadline passed without an answer; the message may or may not have arrived."""


class StoreError(BrokerkitError):
    """The store of records failed."""


class ResultTooLarge(StoreError):
    """A record is larger than the store accepts."""


class DeadLetterError(BrokerkitError):
    """What was to be done with dead letters was not done; they are where they were."""


class CanaryFailed(DeadLetterError):
    """The dead letter that was sent back first did not succeed, or not in time; the others were not sent back.

    Attributes:
        task_id: Its message's id.
    """

    def __init__(self, message: str, task_id: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class CountMismatch(DeadLetterError):
    """There are more or fewer dead letters than were to be deleted; none was.

    Attributes:
        found: How many there are.
    """

    def __init__(self, message: str, *, found: int) -> None:
        super().__init__(message)
        self.found = found


class LifespanFailed(BrokerkitError):
    """A lifespan, or a dependency that lives as long as the worker, raised before the worker took a message."""


class CodecError(BrokerkitError):
    """A value could not be turned into bytes, or bytes into a value."""


class EncodeError(CodecError):
    """The value has no representation on the wire, or does not fit its annotation."""


class DecodeError(CodecError):
    """The body is not what its content type says, is too large or too deep, or does not fit the annotation."""


class TaskError(BrokerkitError):
    """What became of a task that did not succeed.

    Args:
        message: What happened, in one line.
        task_id: The id of the task.
    """

    def __init__(self, message: str, *, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskFailed(TaskError):
    """The last attempt raised; the remote exception is here as text, never as an object. Its traceback is also a note,
    so that it is shown where nobody catches this.

    Attributes:
        type: The qualified name of the remote exception's class.
        remote_message: Its text.
        traceback: Its traceback, bounded, or "".
        attempts: How many counted runs were made.
        exhausted: True when the retry policy wanted another attempt but none was left.
    """

    def __init__(
        self,
        type: str,  # noqa: A002 - the field's own name
        message: str,
        *,
        traceback: str = "",
        attempts: int = 1,
        exhausted: bool = False,
        task_id: str = "",
    ) -> None:
        super().__init__(f"{type}: {message}" if message else type, task_id=task_id)
        self.type = type
        self.remote_message = message
        self.traceback = traceback
        self.attempts = attempts
        self.exhausted = exhausted
        if traceback:  # seen where nobody catches this: without it, all that is shown is where somebody waited
            self.add_note(f"In the worker, attempt {attempts}:\n{traceback.rstrip()}")


class RetriesExhausted(TaskFailed):
    """The last attempt raised and no retries were left."""


class TaskTimedOut(TaskError):
    """The last attempt exceeded its timeout."""


class TaskCancelled(TaskError):
    """The task was cancelled before or while it ran."""


class TaskExpired(TaskError):
    """The task was not started before its ``expires``."""


class TaskNotFound(TaskError):
    """No record and no reply is known for this id."""


class RetryLater(Exception):
    """Raised by a handler: run this message again after a delay, whatever the retry policy says.

    Args:
        after: Seconds until the next attempt.
        counted: False means "not now": the attempt does not count against ``max_retries``, and the delay is at least
            0.1 s, since nothing else would end a loop.
        reason: Kept as the attempt's error text.
    """

    def __init__(self, after: float = 0.0, *, counted: bool = True, reason: str = "") -> None:
        if not 0 <= after < float("inf"):
            raise ValueError(f"RetryLater(after) takes seconds >= 0, not {after!r}")
        super().__init__(reason or f"again in {after:g} s")
        self.after = after
        self.counted = counted
        self.reason = reason


class GiveUp(Exception):
    """Raised by a handler: dead-letter this message at once.

    Args:
        reason: Kept in the record and in the dead letter.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the handler gave up")
        self.reason = reason
