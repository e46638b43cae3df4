"""Private servers, for every test here that asks for one."""

from tests.redis.between import proxy
from tests.redis.clusters import cluster
from tests.redis.servers import serve, server

__all__ = ["cluster", "proxy", "serve", "server"]
