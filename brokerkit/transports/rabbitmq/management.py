"""The broker's management API, used only where its URL is given."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from brokerkit.errors import ConfigurationError, ConnectFailed
from brokerkit.transports.rabbitmq.plan import Arguments
from brokerkit.transports.rabbitmq.policies import Policy, as_arguments, check_unrivalled

TIMEOUT = 10.0
"""Seconds for one request."""

_FIXES = {
    401: "the user or the password is wrong",
    403: "the user lacks the tag policymaker, or the virtual host",
    404: "there is no such virtual host, or this is not the management API",
}


class Management:
    """Sets policies, and tells what AMQP does not.

    Args:
        url: ``http[s]://user:password@host:port``.
        vhost: The virtual host.

    Raises:
        ConfigurationError: The URL is no such one.
    """

    def __init__(self, url: str, vhost: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError("management= takes http://user:password@host:15672, or https://")
        place = parts.netloc.rpartition("@")[2]
        self._root = f"{parts.scheme}://{place}{parts.path.rstrip('/')}/api"
        self._policies = f"/policies/{quote(vhost, safe='')}"
        self._place = place
        login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(login.encode()).decode()

    async def check(self, policies: Sequence[Policy]) -> None:
        """Raise ``TopologyConflict`` where somebody else's policy wins; as ``put`` otherwise."""
        if policies:
            check_unrivalled(policies, await self.get(self._policies))

    async def put(self, policies: Sequence[Policy]) -> None:
        """Create or replace each; a queue obeys from then on, and one to come from its declaration on.

        Raises:
            ConfigurationError: It refuses us; the text names the fix.
            ConnectFailed: It does not answer.
        """
        for policy in policies:
            await self._ask("PUT", f"{self._policies}/{quote(policy.name, safe='')}", policy.body())

    async def obeyed(self, queue: str) -> Arguments:
        """What policies have a queue obey, under the names of the arguments that would; raises as ``put``."""
        vhost = self._policies.removeprefix("/policies")
        found = await self._ask("GET", f"/queues{vhost}/{quote(queue, safe='')}?disable_stats=true")
        return as_arguments(found.get("effective_policy_definition") or {})

    async def drop(self, policies: Sequence[Policy]) -> None:
        """Delete each; raises as ``put``."""
        for policy in policies:
            try:
                await self._ask("DELETE", f"{self._policies}/{quote(policy.name, safe='')}")
            except ConfigurationError as error:
                if " answers 404" not in str(error):
                    raise

    async def get(self, path: str) -> Any:
        """What the API answers, as ``put`` otherwise; the path is without ``/api``."""
        return await self._ask("GET", path)

    async def time(self) -> float:
        """Its host's time in seconds since the epoch, to the second; raises as ``put``."""
        said = await asyncio.to_thread(self._answered, "GET", "/whoami", None, lambda answer: answer.headers["Date"])
        return parsedate_to_datetime(said).timestamp() + 0.5

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self._request, method, path, body)

    def _request(self, method: str, path: str, body: object) -> Any:
        text = self._answered(method, path, body, lambda answer: answer.read())
        return json.loads(text) if text else None

    def _answered(self, method: str, path: str, body: object, take: Callable[[HTTPResponse], Any]) -> Any:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = Request(self._root + path, data, headers, method=method)
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                return take(answer)
        except HTTPError as error:
            with error:
                said = error.read(500).decode(errors="replace")
            fix = _FIXES.get(error.code, said)
            raise ConfigurationError(f"the management API at {self._place} answers {error.code}: {fix}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectFailed(f"the management API at {self._place} does not answer: {reason}") from None
