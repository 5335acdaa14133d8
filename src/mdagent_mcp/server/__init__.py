"""The MCP surface: tools, resources, prompts, views. No logic."""
