"""Ids that several cameras share, so that a thing that leaves one and enters another keeps its id.

The streams of the cameras have one count of ids and one memory (`eomt_ros.engine.tracking.reidentify`). For a thing
that is new in a camera:

1. A track that no camera shows now may be it, by the rules of the memory.
2. So may a track that another camera shows now, if both places are known and nearly the same: the thing is where the
   cameras' views overlap. Without places it gets a new id, since two things that look alike are no rare sight.
3. With its id, the thing goes over: a camera that does not show it any more has no track of it to continue.

A camera that forgets what it saw (a reset, a break in its images) takes that out of the memory, and goes on with new
ids in the same epoch: the others do not notice. The epoch is that of all; the next one begins with `restart`, and when
the ids have run out.

The clocks of the cameras need not be one: each counts from when its first frame came among those of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from eomt_ros.engine.tracking.reidentify import KnownTracks

if TYPE_CHECKING:
    from eomt_ros.engine.tracking.tracker import Identities


class SharedIds:
    """The ids of several streams, or of a single one: their count, and the memory of what has them.

    `epoch` counts the times that they began anew.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.now = 0
        """The latest moment of any stream, in nanoseconds."""
        self.last_id = 0
        self.known = KnownTracks()
        self._streams: WeakSet[Identities] = WeakSet()
        self._joined = 0

    def join(self, stream: Identities) -> int:
        """Adds a stream and gives it a number."""
        self._streams.add(stream)
        self._joined += 1
        return self._joined

    def restart(self) -> None:
        """Forgets everything; the next epoch begins, in each stream with its next frame, and ids begin at 1 again."""
        self.epoch += 1
        self.last_id = 0
        self.known = KnownTracks()

    def shown_beside(self, stream: Identities) -> set[int]:
        """The ids of the things that the other streams show in their last frames."""
        return {id_ for other in self._streams if other is not stream for id_ in other.shown()}

    def hand_over(self, id_: int, stream: Identities) -> None:
        """Takes a track from all streams that do not show it, since `stream` has recalled it."""
        for other in self._streams:
            if other is not stream:
                other.lose(id_)
