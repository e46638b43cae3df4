from tests.sql.fixtures import place

__all__ = ["place"]
