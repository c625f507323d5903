"""Reads bags message by message, without ROS."""

from eomt_ros.evaluation.bag.contents import BagError, Recorded
from eomt_ros.evaluation.bag.reader import Bag, Stamped

__all__ = ["Bag", "BagError", "Recorded", "Stamped"]
