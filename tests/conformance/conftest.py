from tests.redis.clusters import cluster
from tests.sql.fixtures import place

__all__ = ["cluster", "place"]
