"""Listeners to the events of the lower layers."""
