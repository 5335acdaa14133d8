"""Whom to ask, in which order. Pure."""
