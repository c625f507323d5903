"""Jumps of a frame: steps from pose to pose that no robot makes, as where one finds itself anew on its map."""

from __future__ import annotations

import math

import numpy as np

from eomt_ros.space.pose import Pose
from eomt_ros.stamps import SECOND

FASTEST_MOVE, FASTEST_TURN = 20.0, 20.0  # m/s, rad/s; a pose that moves more has jumped
LEAST_JUMP, LEAST_TURN = 0.1, 0.2  # m, rad; at hundreds of poses a second, noise is as fast


class Steps:
    """Counts the jumps in a sequence of poses: steps that no robot makes, or back in time."""

    def __init__(self) -> None:
        self.jumps = 0
        self._last: tuple[int, Pose] | None = None

    def add(self, stamp: int, pose: Pose) -> str:
        """Take the next pose (ns), and say in which way it has jumped; empty where it has not."""
        last, self._last = self._last, (stamp, pose)
        jump = "" if last is None else _jump((stamp - last[0]) / SECOND, last[1], pose)
        self.jumps += bool(jump)
        return jump


def _jump(elapsed: float, before: Pose, after: Pose) -> str:
    """What is impossible in a step of `elapsed` seconds; empty where nothing is."""
    if elapsed <= 0:
        return f"went back in time by {-elapsed:.3f} s"
    way = float(np.linalg.norm(after.translation - before.translation))
    turn = math.acos(min(1.0, max(-1.0, (float(np.trace(before.rotation.T @ after.rotation)) - 1) / 2)))
    if way > max(LEAST_JUMP, FASTEST_MOVE * elapsed):
        return f"jumped by {way:.2f} m in {elapsed:.3f} s"
    if turn > max(LEAST_TURN, FASTEST_TURN * elapsed):
        return f"turned by {turn:.2f} rad in {elapsed:.3f} s"
    return ""
