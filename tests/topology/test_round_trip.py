import msgspec
from hypothesis import given

from brokerkit.topology import Router, Topology, problems
from tests.topology.strategies import topologies


@given(topologies())
def test_any_topology_survives_json_msgpack_and_builtins(topology: Topology) -> None:
    assert msgspec.json.decode(msgspec.json.encode(topology), type=Topology) == topology
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(topology), type=Topology) == topology
    assert msgspec.convert(msgspec.to_builtins(topology), Topology) == topology


@given(topologies())
def test_what_is_read_back_has_the_same_problems_and_hash(topology: Topology) -> None:
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(topology), type=Topology)
    assert problems(copy) == problems(topology)
    assert hash(copy) == hash(topology)
    assert len({copy, topology}) == 1


@given(topologies())
def test_what_is_read_back_routes_the_same(topology: Topology) -> None:
    copy = msgspec.json.decode(msgspec.json.encode(topology), type=Topology)
    start = topology.exchanges[0].name
    for key in ("", "a", "a.b"):
        assert Router(copy).route(start, key, {"k": 1}) == Router(topology).route(start, key, {"k": 1})
