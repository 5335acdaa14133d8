"""Policies as arithmetic: (state, now, signal) -> (state, decision)."""
