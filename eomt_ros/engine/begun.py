"""A frame that a stream has begun: what it starts from, and what is needed for its result."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from eomt_ros.continuity import Admitted
from eomt_ros.engine.backends import Backend
from eomt_ros.engine.pipeline import FrameInput, FrameOutput, Task
from eomt_ros.engine.preprocess.pixels import as_image
from eomt_ros.engine.stream import State, Stream
from eomt_ros.engine.tracking.places import Locate, Places
from eomt_ros.stamps import Stamp, nanoseconds

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage


class Located(NamedTuple):
    """The places of a frame's regions, and the seconds that it took to find them."""

    places: Places | None
    seconds: float


class Begun(NamedTuple):
    """A frame, and its stream's state before it."""

    stream: Stream
    start: State
    stamp: int | None
    """Nanoseconds."""
    frame: FrameInput
    locate: Locate | None

    @classmethod
    def of(
        cls,
        image: np.ndarray | PilImage,
        stream: Stream,
        stamp: Stamp | Admitted | None,
        locate: Locate | None,
        *,
        task: Task,
        step: Backend,
    ) -> Begun:
        """The next frame of a stream.

        Raises `ValueError` for what is no image or not of its mask's size, and for a stamp that is not finite.
        """
        array = as_image(image)
        size = array.shape[0], array.shape[1]
        admitted = stamp if isinstance(stamp, Admitted) else None
        time = stamp.stamp if isinstance(stamp, Admitted) else nanoseconds(stamp)
        seen = None if stream._ignored is None else stream._ignored.of_size(size)
        start = stream._state.before(admitted, size, step.device)
        queries = step.first_queries if start.queries is None else start.queries
        return cls(stream, start, time, FrameInput(array, task.place(size), queries, start.memory, seen), locate)

    def located(self, found: FrameOutput) -> Located:
        """The places of what the frame shows. Raises what `locate` does, and `ValueError` for what are no places."""
        begin, regions = perf_counter(), found.label_map.regions
        places = None if self.locate is None else self.locate(found.label_map.index(), regions)
        return Located(None if places is None else places.of_regions(len(regions)), perf_counter() - begin)
