"""Errors of recordings, whatever they are: bags, videos, pictures, data sets."""

from eomt_ros.errors import UserError


class SourceError(UserError):
    """A recording, its ground truth, or a part of them, that cannot be had; the message says which and why."""
