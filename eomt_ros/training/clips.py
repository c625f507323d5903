"""Clips to train on: single images, and streams that are played in chunks, with what is asked of the network.

Everything random follows from the seed, the step or the number of a stream, and the place in the batch, never from the
process: any number of processes sees the same batch together, and a run that was resumed sees what an undisturbed one
would have seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eomt_ros.training.augmentation import Augmentation, ClipView
from eomt_ros.training.dataset import Dataset, DatasetError
from eomt_ros.training.loading import AskedSegment, DecodedFrame, Footage, FrameLoader
from eomt_ros.training.settings import TrainingSettings

if TYPE_CHECKING:
    from typing_extensions import Self

LABEL_STRIDE = 2
"""Pixels of the network's input to one of the labels: its masks have one for four."""
STRIDES = (1, 1, 2)
"""Frames from one that a stream shows to the next, drawn for each stream."""
STREAM_FRAMES = 40
"""A stream is half to twice as long; of a video with fewer frames, half to twice as long as that."""
CARRIED_SHARE = 0.5
"""Of streams that follow another, how many begin with its queries, so that what long streams leave in them does no
harm."""
VIEWS = 5
"""Views of an image that are drawn, at most, until one shows something that is asked."""
OTHER_TRACKS = 2**32
"""Added to the tracks of what is pasted, so that they are none of the video's: ids of segments are below 2^24."""
ORDER, IMAGE, STREAM, VIEW, NOISE, PASTED = range(6)
"""What random numbers are for."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames that follow one another, and what is asked of the network in them."""

    pixels: Tensor
    """(frames, 3, size, size) float32, 0 to 255."""
    segments: Tensor
    """(frames, size / 2, size / 2) int64, places in `classes`; -1 where nothing is asked: unlabelled, crowd, padding.
    """
    classes: Tensor
    """(N,) int64, of segments that have a pixel each; `BACKGROUND` for what no query shall show."""
    tracks: Tensor
    """(N,) int64, which last while a video is played; -1 for stuff, and for things without a track."""
    stream: int = 0
    """Its place among all streams, or in the batch."""
    first: bool = True
    """True if it begins with first queries."""
    cut: bool = True
    """True if another video begins here, whose tracks mean other things. Where it is not `first` too, the queries that
    the last video left are carried on."""
    pictures: tuple[str, ...] = ()
    """Names of its frames, for texts."""


@dataclass(frozen=True, eq=False)
class ClipPlan:
    """A clip that is to be loaded."""

    footage: Footage
    video: int
    frames: list[int]
    """Their places in the video."""
    seed: tuple[int, ...]
    """Of all that is drawn for the image, or for the stream."""
    begin: int = 0
    """Number of the first frame in the stream."""
    stream: int = 0
    first: bool = True
    cut: bool = True
    views: int = 1
    """How many are drawn at most until one shows something that is asked."""
    pasted: ClipPlan | None = None
    """Another one, whose things of added classes are pasted over it."""

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of its frames, for texts."""
        frames = self.footage.videos[self.video]
        return tuple(f"{frames[index].video}/{frames[index].image.name}" for index in self.frames)


class ClipLoader:
    """Loads clips as they were planned; for several threads at once. pasted: the class ids of what is."""

    def __init__(self, settings: TrainingSettings, pasted: Collection[int] = ()) -> None:
        self._pasted = pasted
        self._augmentation = Augmentation(settings)
        self.frames = FrameLoader(self._augmentation.fit)

    def load(self, plan: ClipPlan) -> Clip:
        """One clip. Raises `DatasetError` where no picture of the data set can be read."""
        frames = self._decoded(plan)
        generator = random_numbers(VIEW, *plan.seed)
        for _ in range(plan.views):
            view = self._augmentation.draw(generator)
            segments, asked = self._labels(frames, view, plan.footage)
            if asked:
                break
        pixels = [
            self._augmentation.pixels(view, frame.image, random_numbers(NOISE, *plan.seed, plan.begin + index))
            for index, frame in enumerate(frames)
        ]
        clip = Clip(
            pixels=torch.from_numpy(np.stack(pixels)),
            segments=torch.from_numpy(segments),
            classes=torch.tensor([each.class_id for each in asked], dtype=torch.int64),
            tracks=torch.tensor([each.track for each in asked], dtype=torch.int64),
            stream=plan.stream,
            first=plan.first,
            cut=plan.cut,
            pictures=plan.pictures,
        )
        return clip if plan.pasted is None else with_pasted(clip, self.load(plan.pasted), self._pasted)

    def _decoded(self, plan: ClipPlan) -> list[DecodedFrame]:
        """The frames of a plan; of the next video where none of that one can be read."""
        videos = plan.footage.videos
        errors = []
        for turn in range(len(videos)):
            video = videos[(plan.video + turn) % len(videos)]
            try:
                return [self.frames.nearest(video, index % len(video)) for index in plan.frames]
            except DatasetError as error:
                errors.append(error)
        raise DatasetError(f"no training picture of {plan.footage.folder} can be read; the first: {errors[0]}")

    def _labels(
        self, frames: list[DecodedFrame], view: ClipView, footage: Footage
    ) -> tuple[npt.NDArray[np.int64], list[AskedSegment]]:
        """The segments of a clip, (frames, side, side) with -1 for none, and those that have a pixel."""
        side = -(-self._augmentation.size // LABEL_STRIDE)
        places: dict[int, int] = {}
        asked: list[AskedSegment] = []
        segments = np.empty((len(frames), side, side), np.int64)
        for frame, shown in zip(frames, segments, strict=True):
            table = np.full(len(frame.segments) + 1, -1)  # its last entry is that of -1
            for place, segment in enumerate(frame.segments):
                if (each := footage.asked(segment)) is not None:
                    table[place] = places.setdefault(each.key, len(places))
                    asked[len(asked) :] = [each] * (len(places) - len(asked))
            shown[:] = table.take(self._augmentation.labels(view, frame.places, side))
        in_view = np.bincount(segments.ravel() + 1, minlength=len(asked) + 1)[1:] > 0
        renumbered = np.append(np.where(in_view, np.cumsum(in_view) - 1, -1), -1)
        return renumbered.take(segments), [each for each, seen in zip(asked, in_view, strict=True) if seen]


class ClipSampler(ABC):
    """The clips of each step, for one process of several, loaded while the network computes the step before.

    replay: a second data set, of which a share of the samples are (`settings.replay`); its classes are those of the
    first by name, and what the first does not have is unlabelled. added: class ids, see `Start.added`: over a share of
    the samples (`settings.paste`) things of these classes are pasted from another one (Ghiasi et al., CVPR 2021).
    Raises `DatasetError` where a data set has nothing to train on. Closes as a context manager.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: TrainingSettings,
        seed: int,
        replay: Dataset | None = None,
        added: Collection[int] = (),
    ) -> None:
        self._settings = settings
        self._seed = seed
        sets = [dataset, *([replay] if replay else [])]
        self._footage = [Footage(each, dataset.classes, settings.task) for each in sets]
        # Stuff has no outline of its own to be cut out by.
        things = self._footage[0].things(added)
        self._loader = ClipLoader(settings, things)
        self._showing = self._footage[0].showing(things) if things and settings.paste else []
        self._threads = ThreadPoolExecutor(settings.loaders, "clips") if settings.loaders else None
        self._ahead: dict[tuple[int, int, int], list[Future[Clip]]] = {}

    @property
    def damaged(self) -> Mapping[Path, DatasetError]:
        """Pictures that this process could not read so far, for which others were taken."""
        return self._loader.frames.damaged

    def batch(self, step: int, rank: int, world: int) -> list[Clip]:
        """The clips of process `rank` of `world` at a step. Raises `DatasetError` where no picture can be read."""
        if self._threads is None:
            return [self._loader.load(plan) for plan in self._plans(step, rank, world)]
        clips = self._ahead.pop((step, rank, world), None) or self._begin(step, rank, world)
        self._drop()
        self._ahead[step + 1, rank, world] = self._begin(step + 1, rank, world)
        return [clip.result() for clip in clips]

    def close(self) -> None:
        """Ends the threads."""
        self._drop()
        if self._threads is not None:
            self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _plans(self, step: int, rank: int, world: int) -> list[ClipPlan]:
        """What one process is to load for a step."""

    def _begin(self, step: int, rank: int, world: int) -> list[Future[Clip]]:
        assert self._threads is not None
        return [self._threads.submit(self._loader.load, plan) for plan in self._plans(step, rank, world)]

    def _drop(self) -> None:
        for clips in self._ahead.values():
            for clip in clips:
                clip.cancel()
        self._ahead.clear()

    def _drawn_pasted(self, seed: tuple[int, ...]) -> tuple[int, int] | None:
        """The video and the frame whose things are pasted over an image or a stream; None for nothing."""
        generator = random_numbers(PASTED, *seed)
        if not self._showing or generator.random() >= self._settings.paste:
            return None
        return self._showing[int(generator.integers(len(self._showing)))]

    def _drawn_footage(self, generator: np.random.Generator) -> Footage:
        return self._footage[int(generator.random() < self._settings.replay) if len(self._footage) > 1 else 0]


class ImageSampler(ClipSampler):
    """Single images: every labelled one of a data set once, in a random order, then again in another."""

    def _plans(self, step: int, rank: int, world: int) -> list[ClipPlan]:
        return [self._plan(step, place) for place in range(rank, self._settings.batch, world)]

    def _plan(self, step: int, place: int) -> ClipPlan:
        number = step * self._settings.batch + place
        seed = (IMAGE, self._seed, number)
        footage = self._drawn_footage(random_numbers(*seed))
        pass_, at = divmod(number, len(footage.labelled))
        video, frame = footage.labelled[shuffled(len(footage.labelled), self._seed, pass_)[at]]
        plan = ClipPlan(footage, video, [frame], seed, stream=place, views=VIEWS)
        if (other := self._drawn_pasted(seed)) is None:
            return plan
        return replace(plan, pasted=ClipPlan(self._footage[0], other[0], [other[1]], (PASTED, *seed), views=VIEWS))


class StreamSampler(ClipSampler):
    """Streams that are played side by side, a chunk in a step: from any labelled frame of a video to and fro, so that
    things out of view return, at a stride of its own; one that ends is followed by another.
    """

    _first_step: int | None = None
    _step = 0
    _playing: Sequence[PlayedStream] = ()

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on at any later step; to be asked for after the first batch."""
        return {"first_step": self._first_step}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on as the sampler did whose state this is, at the step that is asked for next."""
        self._drop()
        self._first_step = state["first_step"]
        self._playing = ()

    def _plans(self, step: int, rank: int, world: int) -> list[ClipPlan]:
        if self._first_step is None:
            self._first_step = step
        if not self._playing or step < self._step:
            self._step = self._first_step
            self._playing = [self._open(slot, 0) for slot in range(self._settings.streams)]
        # All streams, so that every process knows them all, whichever it plays.
        for _ in range(self._step, step):
            self._playing = [
                each.played() if each.left > 1 else self._open(each.slot, each.number + 1) for each in self._playing
            ]
        self._step = step
        return [each.plan(self._settings.chunk) for each in self._playing[rank::world]]

    def _open(self, slot: int, number: int) -> PlayedStream:
        """Stream `number` of those that follow one another in a slot."""
        seed = (STREAM, self._seed, slot, number)
        generator = random_numbers(*seed)
        footage = self._drawn_footage(generator)
        place = footage.labelled[int(generator.integers(len(footage.labelled)))]
        stream = self._begun(footage, place, generator, seed, slot, number)
        if (other := self._drawn_pasted(seed)) is None:
            return stream
        over = self._begun(self._footage[0], other, generator, (PASTED, *seed), slot, number)
        return replace(stream, pasted=over)

    def _begun(
        self,
        footage: Footage,
        place: tuple[int, int],
        generator: np.random.Generator,
        seed: tuple[int, ...],
        slot: int,
        number: int,
    ) -> PlayedStream:
        """The stream that begins at a frame of a video."""
        video, frame = place
        count = len(footage.videos[video])
        length = min(count, STREAM_FRAMES)
        frames = int(generator.integers(max(1, length // 2), 2 * length + 1))
        return PlayedStream(
            footage=footage,
            video=video,
            phase=frame if generator.random() < 0.5 else 2 * count - 1 - frame,
            stride=int(generator.choice(STRIDES)),
            left=max(1, frames // self._settings.chunk),
            first=number == 0 or generator.random() >= CARRIED_SHARE,
            seed=seed,
            slot=slot,
            number=number,
        )


@dataclass(frozen=True, eq=False)
class PlayedStream:
    """A stream of a sampler, and how far it is."""

    footage: Footage
    video: int
    phase: int
    """Place on the way through the video and back, at its beginning."""
    stride: int
    left: int
    """Chunks that are still to be played."""
    first: bool
    """True if it begins with first queries."""
    seed: tuple[int, ...]
    slot: int
    number: int
    chunks: int = 0
    """That were played."""
    pasted: PlayedStream | None = None
    """Another one, whose things of added classes are pasted over it."""

    def played(self) -> PlayedStream:
        """The same, a chunk later."""
        pasted = None if self.pasted is None else self.pasted.played()
        return replace(self, left=self.left - 1, chunks=self.chunks + 1, pasted=pasted)

    def plan(self, chunk: int) -> ClipPlan:
        """Its next chunk, of so many frames."""
        begin = self.chunks * chunk
        count = len(self.footage.videos[self.video])
        way = [(self.phase + self.stride * number) % (2 * count) for number in range(begin, begin + chunk)]
        return ClipPlan(
            footage=self.footage,
            video=self.video,
            frames=[place if place < count else 2 * count - 1 - place for place in way],
            seed=self.seed,
            begin=begin,
            stream=self.slot,
            first=self.first and begin == 0,
            cut=begin == 0,
            pasted=None if self.pasted is None else self.pasted.plan(chunk),
        )


def with_pasted(clip: Clip, other: Clip, classes: Collection[int]) -> Clip:
    """A clip over which the segments of some classes of another one are laid, frame by frame."""
    taken = [place for place, class_id in enumerate(other.classes.tolist()) if class_id in classes]
    over = torch.isin(other.segments, torch.tensor(taken))
    wide = over.repeat_interleave(LABEL_STRIDE, 1).repeat_interleave(LABEL_STRIDE, 2)
    height, width = clip.pixels.shape[-2:]
    segments = torch.where(over, other.segments + len(clip.classes), clip.segments)
    seen, segments[segments >= 0] = torch.unique(segments[segments >= 0], return_inverse=True)
    tracks = torch.where(other.tracks >= 0, other.tracks + OTHER_TRACKS, -1)
    return replace(
        clip,
        pixels=torch.where(wide[:, None, :height, :width], other.pixels, clip.pixels),
        segments=segments,
        classes=torch.cat((clip.classes, other.classes))[seen],
        tracks=torch.cat((clip.tracks, tracks))[seen],
        pictures=(*clip.pictures, *other.pictures),
    )


@lru_cache(maxsize=8)
def shuffled(count: int, seed: int, pass_: int) -> npt.NDArray[np.int64]:
    """The numbers below `count` in the order of one pass through them."""
    return random_numbers(ORDER, seed, pass_).permutation(count)


def random_numbers(*seed: int) -> np.random.Generator:
    """Random numbers that other seeds do not have."""
    return np.random.default_rng((*seed, 1))  # numpy takes zeros at the end for nothing
