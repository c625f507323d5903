"""How long tests wait for events."""

PATIENCE = 300.0
"""s; a generous limit for every wait: only a broken program or a stopped machine needs longer for anything."""
