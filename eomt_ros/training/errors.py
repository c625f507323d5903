"""Errors of data sets."""

from eomt_ros.errors import UserError


class DatasetError(UserError):
    """A data set, or a part of it, that cannot be used; the message names the file, what is wrong and what to do."""
