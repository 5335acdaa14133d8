"""The only place with network I/O towards vendors."""
