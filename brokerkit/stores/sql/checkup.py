"""What should be known of a database that keeps records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import text as statement
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.checkup import Check, Verdict, clock_check, tls_check
from brokerkit.stores.sql.database import Database


class _Questions(NamedTuple):
    """What a kind of database is asked; each has one answer.

    Args:
        version: Its name and version.
        clock: Its time in seconds since the epoch.
        encrypted: Whether this connection is: anything but 0 and nothing.
        read_only: Whether it takes no writes, as 0 or 1.
        safe: What must be so for a commit to be on disk: a question, and the answers that are good.
    """

    version: str
    clock: str
    encrypted: str
    read_only: str
    safe: Mapping[str, tuple[str, frozenset[str]]]


_ASKED = {
    "postgresql": _Questions(
        "SELECT 'PostgreSQL ' || current_setting('server_version')",
        "SELECT extract(epoch FROM clock_timestamp())",
        "SELECT coalesce((SELECT ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 0)",
        "SELECT (pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on')::int",
        {
            "fsync": ("SELECT current_setting('fsync')", frozenset({"on"})),
            "synchronous_commit": (
                "SELECT current_setting('synchronous_commit')",
                frozenset({"on", "local", "remote_write", "remote_apply"}),
            ),
        },
    ),
    "mysql": _Questions(
        "SELECT concat(@@version_comment, ' ', @@version)",
        "SELECT unix_timestamp(now(6))",
        "SHOW SESSION STATUS LIKE 'Ssl_cipher'",
        "SELECT @@read_only",
        {"innodb_flush_log_at_trx_commit": ("SELECT @@innodb_flush_log_at_trx_commit", frozenset({"1"}))},
    ),
}


async def checkup(database: Database) -> list[Check]:
    """Everything worth knowing of a database whose tables are there."""
    questions = _ASKED["postgresql" if database.backend.dialect.startswith("postgresql") else "mysql"]

    async def work(connection: AsyncConnection) -> list[Check]:
        async def ask(question: str) -> str:
            row = (await connection.execute(statement(question))).one()
            return str(row[-1])

        version, asked = await ask(questions.version), time.time()
        server = float(await ask(questions.clock))
        checks = [Check("version", Verdict.OK, version), clock_check(server, asked)]
        encrypted = await ask(questions.encrypted) not in {"", "0"}
        checks.append(tls_check(encrypted, database.target.host, "add tls=verify to the store's URL"))
        if await ask(questions.read_only) not in {"0", "OFF"}:
            fix = "connect to the primary: records cannot be written here"
            checks.append(Check("writing", Verdict.PROBLEM, "the server takes no writes", fix))
        for name, (question, good) in questions.safe.items():
            checks.append(_safe(name, await ask(question), good))
        return [*checks, Check("permissions", Verdict.OK, "the tables are there and up to date")]

    return await database.run(work)


def _safe(name: str, value: str, good: frozenset[str]) -> Check:
    if value in good:
        return Check("persistence", Verdict.OK, f"{name} = {value}: what is committed is on disk")
    fix = f"set {name} = {min(good)}, or bear that the last records of a crash are gone"
    return Check("persistence", Verdict.WARNING, f"{name} = {value}: a crash loses what was committed last", fix)
