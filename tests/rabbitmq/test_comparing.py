"""From what is wanted, remembered and seen to what has to be done on RabbitMQ: without a broker."""

from collections.abc import Mapping

from brokerkit.errors import TopologyConflict
from brokerkit.planning import Options, Plan
from brokerkit.planning.showing import lines
from brokerkit.topology import DeadLetter, Exchange, Log, Queue, Topology
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.plan import BindingPlan, Named
from brokerkit.transports.rabbitmq.planning.comparing import compare
from brokerkit.transports.rabbitmq.planning.objects import Objects, of_plan, own_only
from brokerkit.transports.rabbitmq.planning.observing import Seen
from brokerkit.transports.rabbitmq.planning.state import Remembered, State
from brokerkit.transports.rabbitmq.policies import with_policies

ORDERS = Exchange("orders", "topic")
BEFORE = Topology("shop", [ORDERS], [Queue("eu", [ORDERS.bind("eu.#")]), Queue("us", max_length=5)])
EVERYTHING = Options(prune=True, replace="side-by-side")


def wanted(topology: Topology, *, policies: bool = False) -> Objects:
    plan = compile_topology(topology, (3, 13))
    if policies:
        plan, rules = with_policies(plan)
        return of_plan(plan, rules, "own")
    return of_plan(plan, (), "own")


def seen(objects: Objects, *, differing: Mapping[Named, TopologyConflict] | None = None, lists: bool = False) -> Seen:
    """All of these are there."""
    odd = differing or {}
    there = {name: [odd[name]] if name in odd else [] for name in objects.named}
    bindings = objects.bound if lists else None
    policies = {policy.name: policy.definition for policy in objects.policies} if lists else None
    return Seen(there, bindings, policies)


def planned(objects: Objects, state: State, found: Seen, options: Options = EVERYTHING, app: str = "shop") -> list[str]:
    """The lines of a plan."""
    work = compare(app, objects, state, found, options)
    plan = Plan(wanted=Topology(app), broker="rabbitmq", changes=work.changes, leftovers=work.leftovers)
    return list(lines(plan))


def remembering(objects: Objects, app: str = "shop") -> State:
    return State(1, {app: Remembered(own_only(objects))})


def test_nothing_is_done_twice() -> None:
    before = wanted(BEFORE)
    assert planned(before, remembering(before), seen(before)) == ["nothing to do"]
    assert planned(before, State(), seen(before), Options())[-1] == "6 to adopt, 1 to bind"
    assert planned(before, State(), seen(before, lists=True), Options())[-1] == "6 to adopt"


def test_lanes_are_laid_out_otherwise_even_without_pruning() -> None:
    before = wanted(Topology("shop", [ORDERS], [Queue("eu", [ORDERS.bind("eu.#")], dead_letter=False)]))
    after = wanted(Topology("shop", [ORDERS], [Queue("eu", [ORDERS.bind("eu.#")], dead_letter=False, priorities=2)]))
    assert planned(after, remembering(before), seen(before), Options()) == [
        "+ create exchange eu.lanes",
        "+ create exchange eu.default",
        "+ create queue eu.lane.1",
        "+ bind orders -> exchange eu.lanes by 'eu.#'",
        *(f'+ bind eu.lanes -> queue eu by {{"bk-p":{level},"x-match":"all"}}' for level in range(6)),
        *(f'+ bind eu.lanes -> queue eu.lane.1 by {{"bk-p":{level},"x-match":"all"}}' for level in range(6, 10)),
        "+ bind eu.default -> queue eu",
        "- unbind orders -> queue eu by 'eu.#'  risk: low",
        "    the queue's lanes are laid out otherwise",
        "3 to create, 12 to bind, 1 to unbind",
    ]
    back = planned(before, remembering(after), seen(after), Options())
    assert "- delete queue eu.lane.1  risk: low" in back
    assert "    its messages move to queue eu first" in back
    assert "- delete exchange eu.lanes  risk: low" in back


def test_what_cannot_be_changed_is_refused_unless_it_is_replaced() -> None:
    before = wanted(BEFORE)
    conflict = TopologyConflict("queue us", "x-max-length", 4, 9)
    found = seen(before, differing={Named("queue", "us"): conflict})
    fix = "--replace side-by-side moves its messages to a new one"
    assert planned(before, remembering(before), found, Options()) == [
        "! replace queue us  risk: high",
        "    x-max-length: 9 -> 4",
        "    another queue takes its place and gives it back; workers follow, and its order breaks at the seams",
        f"    refused: these cannot be changed in a queue that is there; {fix}",
        "1 to replace; 1 refused as things are",
    ]
    assert planned(before, remembering(before), found)[-1] == "1 to replace"


def test_limits_are_policies_where_the_management_api_is_known() -> None:
    before = wanted(BEFORE, policies=True)
    changed = Topology(
        "shop", [ORDERS], [BEFORE.queues[0], Queue("us", max_length=9, dead_letter=DeadLetter("eu.dead"))]
    )
    found = seen(before, lists=True)
    assert planned(wanted(changed, policies=True), remembering(before), found) == [
        "~ update policy bk.us  risk: low",
        "    dead-letter-routing-key: us.dead -> eu.dead",
        "    max-length: 4 -> 8",
        "- delete queue us.dead  risk: low",
        "1 to update, 1 to delete",
    ]


def test_others_objects_stay_and_their_bindings_are_in_the_way() -> None:
    before = wanted(BEFORE)
    theirs = wanted(Topology("other", [ORDERS], [Queue("us", max_length=5)]))
    both = State(1, {**remembering(before).apps, **remembering(theirs, "other").apps})
    nothing = planned(Objects(), both, seen(before))
    assert [line for line in nothing if line.startswith("- delete")] == [
        "- delete queue eu  risk: low",
        "- delete queue eu.dead  risk: low",
    ]
    released = [line for line in nothing if line.startswith("= release")]
    assert released == [
        "= release exchange orders",
        "= release queue us",
        "= release queue bk.d.to.us",
        "= release queue us.dead",
    ]
    foreign = BindingPlan("orders", "nobody-knows", True, "#")
    found = seen(before, lists=True)
    found = Seen(found.there, {**(found.bindings or {}), foreign.identity: foreign}, found.policies)
    assert "    refused: others have bound it: orders -> queue nobody-knows by '#'; have them unbind" in planned(
        Objects(), remembering(before), found
    )


def test_what_is_no_longer_declared_is_listed_without_pruning() -> None:
    before = wanted(BEFORE)
    log = wanted(Topology("shop", logs=[Log("history", [ORDERS.bind("#")])], exchanges=[ORDERS]))
    said = planned(log, remembering(before), seen(before), Options())
    assert "  queue eu: no longer declared; stays unless --prune removes it" in said
    assert not [line for line in said if line.startswith("-")]
