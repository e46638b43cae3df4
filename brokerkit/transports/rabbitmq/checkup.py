"""What should be known of a RabbitMQ broker: what AMQP tells, and more where the management API is named."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

from brokerkit.checkup import Check, Verdict, clock_check, is_local, tls_check
from brokerkit.errors import BrokerkitError, ConfigurationError, MissingCapability, TopologyError
from brokerkit.topology import Topology
from brokerkit.transports.rabbitmq import errors
from brokerkit.transports.rabbitmq.asking import Asking
from brokerkit.transports.rabbitmq.broker import RabbitmqBroker
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.declaring import differences
from brokerkit.transports.rabbitmq.plan import QueuePlan

_NO_API = "add ?management=http://user:password@host:15672 to the URL"


async def checkup(broker: RabbitmqBroker, topology: Topology) -> list[Check]:
    """Everything worth knowing of a broker.

    Args:
        broker: Open.
        topology: What an app would declare.
    """
    server = broker.server
    host = server.hosts[0].name
    checks = [
        Check("version", Verdict.OK, f"RabbitMQ {broker.product}"),
        tls_check(server.tls, host, "use amqps://, with a certificate on the broker"),
        _user(server.user, server.password, host),
        await _permissions(broker),
        _consumer_timeout(server.options.consumer_timeout),
        *[check async for check in _managed(broker)],
    ]
    return [*checks, *[check async for check in _topology(broker, topology)]]


def _user(user: str, password: str, host: str) -> Check:
    if (user, password) == ("guest", "guest") and not is_local(host):
        text = "the user guest has the password that everybody knows"
        return Check("user", Verdict.PROBLEM, text, "rabbitmqctl change_password guest, or give each app its own user")
    return Check("user", Verdict.OK, user)


async def _permissions(broker: RabbitmqBroker) -> Check:
    """What the user may do, tried on a queue that goes with this connection."""
    name = f"bk.doctor.{uuid4().hex}"
    channel = await broker.channel()
    doing = "configure"
    try:
        await channel.rpc.queue_declare(name, exclusive=True, auto_delete=True)
        doing = "read"
        await channel.rpc.basic_get(name, no_ack=True)
        await channel.rpc.queue_delete(name)
    except Exception as error:
        closed = errors.closed_by(error)
        if closed is None or closed.code != errors.ACCESS_REFUSED:
            raise errors.while_running(error) from error
        fix = f"grant {doing} on bk.* as well; or let somebody declare brokerkit's objects (topology export --delays)"
        return Check("permissions", Verdict.WARNING, f"the user may not {doing} {name}", fix)
    finally:
        await channel.close()
    return Check("permissions", Verdict.OK, "may declare and consume queues of its own")


def _consumer_timeout(seconds: float) -> Check:
    text = f"taken for {seconds:g} s; the broker does not tell"
    return Check("consumer timeout", Verdict.OK, text, "if it is configured otherwise, say so: ?consumer_timeout=")


async def _managed(broker: RabbitmqBroker) -> AsyncIterator[Check]:
    """What only the management API tells."""
    management = broker.management
    if management is None:
        text = "not named, so alarms, nodes, feature flags and the clock are not looked at"
        yield Check("management", Verdict.UNKNOWN, text, _NO_API)
        return
    try:
        nodes, flags = await management.get("/nodes"), await management.get("/feature-flags")
        asked = time.time()
        clock = clock_check(await management.time(), asked)
    except BrokerkitError as error:
        yield Check("management", Verdict.WARNING, str(error), "give the user the tag monitoring")
        return
    yield clock
    yield _alarms(nodes)
    if len(nodes) < 3:
        fix = "add nodes, at least three in all, where the loss of one must lose nothing"
        yield Check("nodes", Verdict.OK, f"{len(nodes)}: a quorum queue is as safe as their disks", fix)
    else:
        yield Check("nodes", Verdict.OK, f"{len(nodes)}: a quorum queue survives the loss of a minority")
    off = sorted(
        str(flag["name"]) for flag in flags if flag.get("stability") == "stable" and flag["state"] != "enabled"
    )
    if off:
        text = f"{len(off)} stable ones are off: {', '.join(off[:5])}"
        yield Check("feature flags", Verdict.WARNING, text, "rabbitmqctl enable_feature_flag all")
    else:
        yield Check("feature flags", Verdict.OK, "all stable ones are on")


def _alarms(nodes: list[Mapping[str, Any]]) -> Check:
    said = [
        f"{node['name']}: {what}"
        for node in nodes
        for key, what in (("mem_alarm", "memory"), ("disk_free_alarm", "disk"))
        if node.get(key)
    ]
    down = [f"{node['name']}: down" for node in nodes if not node.get("running", True)]
    if said or down:
        fix = "free memory or disk, consume what is queued, or start the node"
        return Check("alarms", Verdict.PROBLEM, ", ".join([*said, *down]), fix)
    return Check("alarms", Verdict.OK, "none")


async def _topology(broker: RabbitmqBroker, topology: Topology) -> AsyncIterator[Check]:
    """How the app's queues are there: their types, limits and dead-letter strategies, and what is missing."""
    try:
        plan = compile_topology(topology, broker.version)
    except (TopologyError, MissingCapability) as error:
        problems = error.problems if isinstance(error, TopologyError) else (str(error),)
        yield Check("topology", Verdict.PROBLEM, "; ".join(problems), "brokerkit topology lint --broker says more")
        return
    missing, fine = 0, 0
    async with Asking(broker.channel) as asking:
        for queue in plan.queues:
            if not await asking.exists("queue", queue.name):
                missing += queue.mode == "own"
                if queue.mode != "own":
                    fix = "have its owner declare it"
                    yield Check("queue", Verdict.PROBLEM, f"{queue.name} is not there, and mode={queue.mode!r}", fix)
            elif (check := await _queue(asking, queue)) is not None:
                yield check
            else:
                fine += 1
    if plan.queues:
        later = f", {missing} will be created when the app is opened" if missing else ""
        yield Check("queues", Verdict.OK, f"{fine} of {len(plan.queues)} are there as declared{later}")


async def _queue(asking: Asking, queue: QueuePlan) -> Check | None:
    """In what a queue that is there differs from what the app wants."""
    try:
        found = sorted(await differences(asking, queue), key=lambda conflict: conflict.attribute != "x-queue-type")
    except ConfigurationError:
        return Check("queue", Verdict.UNKNOWN, f"{queue.name} may not be looked at by this user", "grant configure")
    told = [f"{each.attribute} = {each.found!r} instead of {each.wanted!r}" for each in found]
    if not told:
        return None
    lenient = queue.backstop and [each.attribute for each in found] == ["x-delivery-limit"]
    verdict = Verdict.WARNING if lenient else Verdict.PROBLEM
    fix = "make the two agree; an argument of a queue that is there cannot be changed, a policy can"
    return Check("queue", verdict, f"{queue.name} has {', '.join(told)}", fix)
