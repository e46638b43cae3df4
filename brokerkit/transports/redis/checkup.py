"""What should be known of a Redis or Valkey server: above all whether it keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from brokerkit.checkup import Check, Verdict, clock_check, tls_check
from brokerkit.errors import TransportError
from brokerkit.topology import Topology
from brokerkit.transports.redis.compile import compile_topology
from brokerkit.transports.redis.keys import Keys
from brokerkit.transports.redis.servers import Servers
from brokerkit.transports.redis.session import Session
from brokerkit.transports.redis.url import Location

_FULL = 0.8
"""The share of ``maxmemory`` from which on it is worth a warning."""


async def checkup(servers: Servers, location: Location, keys: Keys, topology: Topology) -> list[Check]:
    """Everything worth knowing of the servers.

    Args:
        servers: The connections to them.
        location: Where they are.
        keys: What brokerkit's keys are called there.
        topology: What an app would declare.
    """
    checks: list[Check] = []
    for session in servers.all:
        for check in await _server(session, location):
            alone = len(servers.all) == 1
            checks.append(check if alone else msgspec.structs.replace(check, topic=f"{check.topic} {session.where}"))
    return [*checks, *await _queues(servers, keys, topology)]


async def _server(session: Session, location: Location) -> list[Check]:
    said = _info(await session.ask("INFO"))
    asked = time.time()
    seconds, micros = await session.ask("TIME")
    address = location.addresses[0]
    hint = "use rediss://, or ?tls=true, with a certificate on the server"
    return [
        _version(said),
        _role(said),
        tls_check(location.login.tls is not None, address.path or address.host, hint),
        _eviction(said),
        *_memory(said),
        await _persistence(session, said),
        clock_check(int(seconds) + int(micros) / 1e6, asked),
    ]


def _info(answer: bytes) -> Mapping[str, str]:
    return dict(line.partition(":")[::2] for line in answer.decode(errors="replace").splitlines() if ":" in line)


def _version(said: Mapping[str, str]) -> Check:
    name = "valkey" if "valkey_version" in said else "redis"
    return Check("version", Verdict.OK, f"{name} {said.get(f'{name}_version', '?')}")


def _role(said: Mapping[str, str]) -> Check:
    replicas = said.get("connected_slaves", "0")
    if replicas == "0":
        return Check("replicas", Verdict.OK, "none: what this server's disk loses is lost")
    fix = "add ?durability=replicas:1 to the URL where a failover must lose nothing that was confirmed"
    return Check("replicas", Verdict.OK, f"{replicas}, which are told afterwards", fix)


def _eviction(said: Mapping[str, str]) -> Check:
    policy = said.get("maxmemory_policy", "")
    if not policy:
        return Check("eviction", Verdict.UNKNOWN, "the server does not say", "make sure of maxmemory-policy noeviction")
    if policy == "noeviction" or said.get("maxmemory") == "0":
        limit = "no limit of memory" if said.get("maxmemory") == "0" else "a full server refuses, and removes nothing"
        return Check("eviction", Verdict.OK, f"{policy}: {limit}")
    text = f"{policy}: when its memory is full, the server removes queues with the messages in them"
    return Check("eviction", Verdict.PROBLEM, text, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")


def _memory(said: Mapping[str, str]) -> Iterator[Check]:
    used, most = int(said.get("used_memory", 0)), int(said.get("maxmemory", 0))
    text = f"{used / 2**20:,.0f} MiB used" + (f" of {most / 2**20:,.0f} MiB" if most else "")
    if most and used > _FULL * most:
        yield Check(
            "memory", Verdict.WARNING, text, "raise maxmemory, or look which queue grows: brokerkit queue stats"
        )
    else:
        yield Check("memory", Verdict.OK, text)


async def _persistence(session: Session, said: Mapping[str, str]) -> Check:
    if said.get("aof_last_write_status", "ok") != "ok" or said.get("rdb_last_bgsave_status", "ok") != "ok":
        return Check("persistence", Verdict.PROBLEM, "the server could not write to its disk", "look into its log")
    if said.get("aof_enabled") == "1":
        how = await _setting(session, "appendfsync")
        lost = {"always": "nothing that was confirmed", "everysec": "about the last second"}.get(how or "")
        if lost is None:
            fix = "CONFIG SET appendfsync everysec, or always"
            return Check("persistence", Verdict.WARNING, f"appendonly yes, appendfsync {how or 'unknown'}", fix)
        return Check("persistence", Verdict.OK, f"appendonly yes, appendfsync {how}: a crash loses {lost}")
    saves = await _setting(session, "save")
    since = "what came since the last snapshot"
    lost = f"{since}, if it takes any," if saves is None else since if saves else "everything"
    fix = "CONFIG SET appendonly yes, and in redis.conf"
    return Check("persistence", Verdict.WARNING, f"appendonly no: when the server ends, {lost} is lost", fix)


async def _setting(session: Session, name: str) -> str | None:
    """A setting, None where it may not be asked for."""
    try:
        answer: Any = await session.ask("CONFIG", "GET", name)
    except TransportError:
        return None
    value = answer.get(name.encode()) if isinstance(answer, dict) else None
    return value.decode() if isinstance(value, bytes) else None


async def _queues(servers: Servers, keys: Keys, topology: Topology) -> list[Check]:
    """Keys of the app's queues that hold something else."""
    plan, foreign = compile_topology(topology, keys), []
    for target in plan.targets.values():
        for level in range(target.lanes):
            kind = await servers.ask("TYPE", target.stream(level))
            if kind not in {b"stream", b"none", "stream", "none"}:
                foreign.append(target.stream(level))
    if not plan.targets:
        return []
    if foreign:
        text = f"{', '.join(foreign)}: another program's, and no streams"
        return [Check("queues", Verdict.PROBLEM, text, "give ?prefix= in the URL, or another database")]
    return [Check("queues", Verdict.OK, f"{len(plan.targets)} queues and groups, no foreign keys in their place")]
