"""Errors of data sets and of training."""

from eomt_ros.errors import UserError


class DatasetError(UserError):
    """A data set, or a part of it, that cannot be used; the message names the file, what is wrong and what to do."""


class TrainingError(UserError):
    """A training that cannot begin or go on; the message says why and what to do."""
