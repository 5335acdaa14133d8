"""Recent answers, past prices that were fetched already, and what replicas share of both."""

from mdagent_mcp.cache.timed import Entry, TimedStore

__all__ = ["Entry", "TimedStore"]
