"""Segments of a frame to objects with ids that last."""
