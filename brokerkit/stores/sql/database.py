"""The connections to the database, and how anything is asked of it: within a deadline, and again where that helps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from brokerkit.errors import ConfigurationError, StoreError
from brokerkit.stores.sql.backend import Backend, Missing, Refused, Trouble
from brokerkit.stores.sql.calls import Calls, Deadline
from brokerkit.stores.sql.options import Target

T = TypeVar("T")
Work = Callable[[AsyncConnection], Coroutine[Any, Any, T]]

_RECYCLE = 600
"""Seconds after which an idle connection is not used again: firewalls forget such, and say nothing."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5
"""Seconds before a deadlock is tried again: the first time, and at most; halved at random."""
_CLOSING = 2.0
"""Seconds that closing may take before connections are cut."""


class _Again(Exception):
    """What was asked for was not done, and may be asked again.

    Args:
        lost: The connection has gone, and what it was asked for may have been done.
    """

    def __init__(self, error: StoreError, lost: bool) -> None:
        super().__init__(error)
        self.error = error
        self.lost = lost


class Database:
    """A database that is asked.

    Args:
        target: Where it is.
        backend: What kind it is.
    """

    def __init__(self, target: Target, backend: Backend) -> None:
        self.target = target
        self.backend = backend
        self._engine: AsyncEngine | None = None
        self._calls = Calls()
        self._connections: set[Any] = set()

    async def __aenter__(self) -> Self:
        options = self.target.options
        self._engine = create_async_engine(
            f"{self.backend.dialect}://",  # without password: the backend connects
            async_creator=self._connect,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_reset_on_return=None,
            pool_size=options.pool_size,
            max_overflow=0,
            pool_timeout=options.timeout,
            pool_recycle=_RECYCLE,
            hide_parameters=True,
        )
        await self._calls.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        await self._calls.stop()
        timer = asyncio.get_running_loop().call_later(_CLOSING, self._cut)
        try:
            await engine.dispose()
        except (SQLAlchemyError, OSError):  # it had gone before
            pass
        finally:
            timer.cancel()
            self._cut()

    async def run(
        self, work: Work[T], *, repeatable: Callable[[], bool] = lambda: True, seconds: float | None = None
    ) -> T:
        """What the work returns. It runs again, from its start, after a deadlock or on another connection.

        Args:
            work: Gets a connection that commits every statement by itself.
            repeatable: Asked when the connection was lost; False when what may have been done already would have
                another answer the second time, so that it is an error. Default always.
            seconds: How long all of it may take; default the option ``timeout``.

        Raises:
            StoreError: What is wrong and how to mend it.
        """
        deadline = Deadline(self.target.options.timeout if seconds is None else seconds)
        return await self._calls.make(self._insist(work, repeatable, deadline), deadline)

    async def _insist(self, work: Work[T], repeatable: Callable[[], bool], deadline: Deadline) -> T:
        losses, pause = 0, _FIRST_PAUSE
        while True:
            try:
                return await self._once(work, deadline)
            except _Again as again:
                losses += again.lost
                # Every connection of the pool may have gone together.
                over = again.lost and (not repeatable() or losses > self.target.options.pool_size)
                wait = 0.0 if again.lost else random.uniform(pause / 2, pause)
                if over or deadline.left <= wait:
                    raise again.error from again.__cause__
                await asyncio.sleep(wait)
                pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _once(self, work: Work[T], deadline: Deadline) -> T:
        async with self._connection(deadline) as connection:
            driver = connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]
            deadline.watch(lambda: self.backend.abort(driver))
            try:
                return await work(connection)
            except (SQLAlchemyError, OSError) as error:
                if not connection.invalidated and self._ended(driver, error):
                    await connection.invalidate()
                self._raise(error, deadline)
            finally:
                deadline.unwatch()

    @asynccontextmanager
    async def _connection(self, deadline: Deadline) -> AsyncIterator[AsyncConnection]:
        assert self._engine is not None  # else no calls are taken
        try:
            async with asyncio.timeout_at(deadline.at):
                connection = await self._engine.connect()
        except (TimeoutError, PoolTimeout) as error:
            raise StoreError(
                f"{self.target} has had no free connection for {deadline.seconds:g} s: it is slow or has "
                "stopped, or pool_size= is too small"
            ) from error
        except (SQLAlchemyError, OSError) as error:
            self._raise(error, deadline)
        try:
            yield connection
        finally:
            await connection.close()

    async def _connect(self) -> Any:
        """A new connection, for the pool. Raises ``StoreError``, which the pool hands on."""
        seconds = self.target.options.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                connection = await self.backend.connect()
        except TimeoutError as error:
            raise StoreError(f"{self.target} did not answer within {seconds:g} s; is it running?") from error
        except (StoreError, ConfigurationError):
            raise
        except Exception as error:  # whatever the driver finds wrong
            raise StoreError(f"{self.target} {self.backend.explain(error).text}") from error
        self._connections = {each for each in self._connections if not self.backend.ended(each)}
        self._connections.add(connection)
        return connection

    def _ended(self, driver: Any, error: BaseException) -> bool:
        return self.backend.ended(driver) or self.backend.explain(error).trouble is Trouble.LOST

    def _cut(self) -> None:
        for connection in self._connections:
            self.backend.abort(connection)
        self._connections.clear()

    def _raise(self, error: Exception, deadline: Deadline) -> NoReturn:
        if deadline.passed:
            raise StoreError(
                f"{self.target} did not answer within {deadline.seconds:g} s; is it overloaded?"
            ) from error
        meaning = self.backend.explain(error)
        text = f"{self.target} {meaning.text}"
        if meaning.trouble in {Trouble.LOST, Trouble.AGAIN}:
            raise _Again(StoreError(text), meaning.trouble is Trouble.LOST) from error
        kinds: dict[Trouble, type[StoreError]] = {Trouble.MISSING: Missing, Trouble.DATA: Refused}
        raise kinds.get(meaning.trouble, StoreError)(text) from error
