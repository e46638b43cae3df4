"""What is known to be on the broker, so that it is declared once."""

from __future__ import annotations

import asyncio

from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Plan, QueuePlan


class Applied:
    """What is known to be on the broker; for one connection, since another may lead to a broker that lost things.

    Attributes:
        without_alternate: Exchanges that exist without brokerkit's alternate: a delayed message that matches nothing
            there would stop everybody's delays, so none may be sent to them.
        lock: Held by ``apply``.
    """

    def __init__(self) -> None:
        self.without_alternate: set[str] = set()
        self.lock = asyncio.Lock()
        self._exchanges: dict[str, ExchangePlan] = {}
        self._queues: dict[str, QueuePlan] = {}
        self._bindings: dict[bytes, BindingPlan] = {}

    def lacking(self, plan: Plan) -> Plan:
        """The part of a plan that is not known to be there."""
        return Plan(
            tuple(exchange for exchange in plan.exchanges if self._exchanges.get(exchange.name) != exchange),
            tuple(queue for queue in plan.queues if self._queues.get(queue.name) != queue),
            tuple(binding for binding in plan.bindings if binding.identity not in self._bindings),
        )

    def add(self, plan: Plan) -> None:
        """Remember that this is there."""
        self._exchanges |= {exchange.name: exchange for exchange in plan.exchanges}
        self._queues |= {queue.name: queue for queue in plan.queues}
        self._bindings |= {binding.identity: binding for binding in plan.bindings}

    def forget(self, plan: Plan) -> Plan:
        """Forget a part, and what leads to its queues from elsewhere: a deleted queue has lost all its bindings.

        Returns:
            Those bindings from elsewhere, and their exchanges.
        """
        queues = {queue.name for queue in plan.queues}
        lost = [each for each in self._bindings.values() if each.to_queue and each.destination in queues]
        sources = {binding.source for binding in lost}
        elsewhere = Plan(tuple(each for each in self._exchanges.values() if each.name in sources), (), tuple(lost))
        for part in (plan, elsewhere):
            self._drop(part)
        return elsewhere

    def _drop(self, plan: Plan) -> None:
        for exchange in plan.exchanges:
            self._exchanges.pop(exchange.name, None)
            self.without_alternate.discard(exchange.name)
        for queue in plan.queues:
            self._queues.pop(queue.name, None)
        for binding in plan.bindings:
            self._bindings.pop(binding.identity, None)
