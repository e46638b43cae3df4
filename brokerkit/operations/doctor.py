"""What is wrong with the broker and the store of an app, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from brokerkit.app import App
from brokerkit.checkup import Check, Diagnoses, Verdict
from brokerkit.connect import redacted
from brokerkit.errors import StoreError, TopologyError, TransportError
from brokerkit.topology import Topology
from brokerkit.transport import Capabilities


class Findings(msgspec.Struct, frozen=True):
    """What was found about one server.

    Args:
        subject: ``broker`` or ``store``, and where it is.
        checks: One for each thing that was looked at.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        order = list(Verdict)
        return max((check.verdict for check in self.checks), key=order.index, default=Verdict.OK)


async def examine(app: App, url: str = "", store: str = "") -> list[Findings]:
    """Look at the broker and the store of an app; nothing is declared or changed.

    Args:
        app: Not open.
        url: Where the broker is, for texts.
        store: Where the store is, for texts.
    """
    topology, checks = _topology(app)
    where = f"broker {redacted(url)}" if url else "broker"
    try:
        async with app.connected() as (transport, records, shared):
            checks += list(_abilities(transport.capabilities))
            if isinstance(transport, Diagnoses):
                checks += await transport.checkup(topology)
            found = [Findings(where, tuple(checks))]
            if isinstance(records, Diagnoses) and not shared:
                about = f"store {redacted(store)}" if store else "store"
                found.append(Findings(about, tuple(await records.checkup(topology))))
            return found
    except TransportError as error:
        return [Findings(where, (*checks, _unreachable(error)))]
    except StoreError as error:
        return [Findings(where, tuple(checks)), Findings("store", (_unreachable(error),))]


def _topology(app: App) -> tuple[Topology, list[Check]]:
    try:
        return app.topology(), []
    except TopologyError as error:
        text = "; ".join(error.problems)
        return Topology(app.name), [Check("topology", Verdict.PROBLEM, text, "brokerkit topology lint explains each")]


def _unreachable(error: Exception) -> Check:
    return Check("connection", Verdict.PROBLEM, str(error))


def _abilities(broker: Capabilities) -> Iterator[Check]:
    """What the broker can do, as connected."""
    yield Check("connection", Verdict.OK, f"{broker.name} answers")
    said = {
        "records, outcome and follow-ups in one step": broker.atomic_commit,
        "cancelling what waits": broker.cancel == "atomic",
        "history of logs": broker.history,
        f"delays up to {broker.delayed // 86400:,.0f} days": broker.delayed > 0,
    }
    able = ", ".join(what for what, offered in said.items() if offered)
    lacking = ", ".join(what for what, offered in said.items() if not offered)
    yield Check("abilities", Verdict.OK, f"{able}; not: {lacking}" if lacking else able)
