"""Market data that LLM agents can trust."""

__version__ = "0.1.0"
