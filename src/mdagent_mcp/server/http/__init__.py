"""MCP over streamable HTTP: who may call, how much, and how serving ends. What is served is built in `server`."""
