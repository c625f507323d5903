"""A frame that a stream has begun: what it starts from, and what is needed for its result."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from eomt_ros.continuity import Admitted
from eomt_ros.engine.backends import Backend
from eomt_ros.engine.device import is_out_of_memory
from eomt_ros.engine.errors import OutOfMemoryError, first_line
from eomt_ros.engine.pipeline import FrameInput, FrameOutput, Task
from eomt_ros.engine.postprocess.label_map import LabelMap
from eomt_ros.engine.preprocess.pixels import as_image
from eomt_ros.engine.stream import State, Stream
from eomt_ros.engine.tracking.places import Locate, Places
from eomt_ros.stamps import Stamp, nanoseconds

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage


class Found(NamedTuple):
    """What a frame shows, without ids yet."""

    label_map: LabelMap
    places: Places | None
    """Of its regions."""
    postprocess: float
    identity: float
    """Seconds."""


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

    def advance(self, output: FrameOutput, *, propagates: bool) -> None:
        """Lets the stream's next frame start from what the network gave."""
        queries = output.queries if propagates else None
        self.stream._state = self.start._replace(queries=queries, memory=output.memory, reset_reason="")

    def found(self, output: FrameOutput) -> Found:
        """The post-processing, and the places of what the frame shows.

        Raises `OutOfMemoryError`, what `locate` does, and `ValueError` for what are no places.
        """
        begin = perf_counter()
        try:
            label_map = output.find()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"no memory is left for the post-processing: {first_line(error)}") from None
        processed = perf_counter()
        regions = label_map.regions
        places = None if self.locate is None else self.locate(label_map.index, regions)
        places = None if places is None else places.of_regions(len(regions))
        return Found(label_map, places, output.postprocess + processed - begin, perf_counter() - processed)
