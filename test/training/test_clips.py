"""Clips of images and streams: the same for any number of processes and after a stop, and what is asked in them."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from eomt_ros.training.clips import Clip, ClipSampler, ImageSampler, StreamSampler
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError
from eomt_ros.training.dataset_writer import DatasetWriter
from eomt_ros.training.settings import TrainingSettings
from test.training.data_sets import BALL, BOX, CLASSES, FLOOR, WALL, labels, picture, write_dataset

PLAIN = {"whole": 1.0, "flip": 0.0, "colour": 0.0, "noise": 0.0, "loaders": 0}
"""Every image as it is, stretched to the square."""
SIDE = 32
Picture = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint16] | None]


def settings(**changed: object) -> TrainingSettings:
    return TrainingSettings(**{"size": SIDE, "batch": 6, "streams": 5, "chunk": 2, **changed})


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset.open(write_dataset(tmp_path / "data", frames=6))


def written(
    folder: Path, videos: dict[str, Sequence[Picture]], classes: Sequence[DatasetClass] = CLASSES, val: str = ""
) -> Dataset:
    """A data set of training videos, and one for validation where it is named."""
    with DatasetWriter(folder, classes) as writer:
        for video, frames in videos.items():
            for number, frame in enumerate(frames):
                writer.add(video, "val" if video == val else "train", number, *frame)
    return Dataset.open(folder)


def flat(level: int, size: tuple[int, int] = (24, 32), class_id: int = FLOOR) -> Picture:
    """A picture of one grey level and one class."""
    return np.full((*size, 3), level, np.uint8), np.full(size, class_id, np.uint8), None


def class_ids(clip: Clip) -> torch.Tensor:
    """(frames, side, side), -1 where nothing is asked."""
    return torch.cat((clip.classes, torch.tensor([-1])))[clip.segments]


def levels(clip: Clip) -> list[int]:
    """The grey level of each frame, which are flat."""
    return [round(frame.mean().item()) for frame in clip.pixels]


def played(sampler: ClipSampler, steps: int, streams: int) -> list[list[Clip]]:
    """The clips of each of the streams."""
    batches = [sampler.batch(step, 0, 1) for step in range(steps)]
    return [[batch[slot] for batch in batches] for slot in range(streams)]


def assert_same(some: Sequence[Clip], others: Sequence[Clip]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for name in ("pixels", "segments", "classes", "tracks"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert (one.stream, one.first, one.cut) == (other.stream, other.first, other.cut)


@pytest.mark.parametrize("kind", [ImageSampler, StreamSampler])
@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_sees_the_same_batch_together(
    kind: Callable[..., ClipSampler], world: int, data: Dataset
) -> None:
    with kind(data, settings(), 3, data) as alone:
        several = [kind(data, settings(), 3, data) for _ in range(world)]
        for step in range(20):
            parts = [sampler.batch(step, rank, world) for rank, sampler in enumerate(several)]
            together = sorted((clip for part in parts for clip in part), key=lambda clip: clip.stream)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            assert_same(alone.batch(step, 0, 1), together)
        for sampler in several:
            sampler.close()


@pytest.mark.parametrize("kind", [ImageSampler, StreamSampler])
def test_threads_that_load_ahead_change_nothing(kind: Callable[..., ClipSampler], data: Dataset) -> None:
    with kind(data, settings(loaders=3), 3) as threaded, kind(data, settings(loaders=0), 3) as plain:
        for step in [*range(6), 3, 4, 9]:  # also where another step is asked for than the next
            assert_same(threaded.batch(step, 0, 1), plain.batch(step, 0, 1))


@pytest.mark.parametrize("kind", [ImageSampler, StreamSampler])
def test_another_seed_gives_other_clips(kind: Callable[..., ClipSampler], data: Dataset) -> None:
    with kind(data, settings(), 3) as one, kind(data, settings(), 4) as other:
        for clip, another in zip(one.batch(0, 0, 1), other.batch(0, 0, 1), strict=True):
            assert not torch.equal(clip.pixels, another.pixels)


def test_streams_that_were_stopped_go_on_as_undisturbed_ones(data: Dataset) -> None:
    with StreamSampler(data, settings(), 3) as undisturbed:
        batches = {step: undisturbed.batch(step, 0, 1) for step in range(40, 70)}
        state = undisturbed.state()
    for step in (41, 55, 69):
        with StreamSampler(data, settings(), 3) as resumed:
            resumed.restore(state)
            for later in range(step, 70):
                assert_same(resumed.batch(later, 0, 1), batches[later])


def test_streams_begin_with_first_queries_at_whichever_step_they_begin(data: Dataset) -> None:
    with StreamSampler(data, settings(), 3) as sampler:
        assert all(clip.first and clip.cut for clip in sampler.batch(1000, 0, 1))


def test_images_are_all_seen_once_before_one_is_seen_again(tmp_path: Path) -> None:
    videos = {f"v{number}": [flat(20 * number + frame) for frame in range(3)] for number in range(1, 6)}
    data = written(tmp_path / "data", videos)
    everything = sorted(20 * number + frame for number in range(1, 6) for frame in range(3))
    with ImageSampler(data, settings(**PLAIN, batch=5), 0) as sampler:
        passes = [
            [levels(clip)[0] for step in range(3 * pass_, 3 * pass_ + 3) for clip in sampler.batch(step, 0, 1)]
            for pass_ in range(3)
        ]
    assert all(sorted(each) == everything for each in passes)
    assert passes[0] != passes[1] != everything


def test_a_stream_plays_a_video_to_and_fro_at_its_stride_and_then_another(tmp_path: Path) -> None:
    videos = {name: [flat(base + 2 * frame) for frame in range(12)] for name, base in (("a", 20), ("b", 120))}
    data = written(tmp_path / "data", videos)
    strides, beginnings, lengths, backwards = set(), set(), set(), set()
    with StreamSampler(data, settings(**PLAIN), 1) as sampler:
        for clips in played(sampler, 100, 5):
            begins = [step for step, clip in enumerate(clips) if clip.cut]
            for begin, end in itertools.pairwise(begins):
                seen = [level for clip in clips[begin:end] for level in levels(clip)]
                places = [(level - (20 if level < 100 else 120)) // 2 for level in seen]
                assert all(level < 100 for level in seen) or all(level > 100 for level in seen)
                steps = np.diff(places)
                stride = max(1, *map(abs, steps.tolist()))
                # The way there and back is 0 .. 11, 11 .. 0, so that a turn takes one frame more.
                way = [*range(12), *range(11, -1, -1)]
                assert any(
                    places == [way[(phase + stride * number) % 24] for number in range(len(places))]
                    for phase in range(24)
                )
                strides.add(stride)
                beginnings.add(places[0])
                lengths.add(len(places))
                backwards.add(bool(steps[0] < 0))
    assert strides == {1, 2}
    assert len(beginnings) > 6
    assert (min(lengths), max(lengths)) == (6, 24)
    assert backwards == {True, False}


def test_of_streams_that_follow_another_half_begin_with_its_queries(data: Dataset) -> None:
    with StreamSampler(data, settings(**PLAIN), 1) as sampler:
        streams = played(sampler, 200, 5)
    following = [clip for clips in streams for clip in clips[1:] if clip.cut]
    assert len(following) > 100
    assert 0.35 < np.mean([clip.first for clip in following]) < 0.65
    assert not any(clip.first for clips in streams for clip in clips if not clip.cut)


def test_all_frames_of_a_stream_are_seen_in_one_view_with_noise_of_their_own(tmp_path: Path) -> None:
    frame = picture(1), *labels(0)
    data = written(tmp_path / "data", {"a": [frame] * 20})
    with StreamSampler(data, settings(noise=0.0, streams=8), 0) as sampler:
        assert any(clip.segments.eq(-1).any() for clip in sampler.batch(0, 0, 1))
        for clips in played(sampler, 12, 8):
            for before, after in itertools.pairwise(clips):
                assert torch.equal(before.pixels[0], before.pixels[1])
                if not after.cut:
                    assert torch.equal(before.pixels, after.pixels)
                    assert torch.equal(before.segments, after.segments)
    with StreamSampler(data, settings(**{**PLAIN, "noise": 20.0}), 0) as sampler:
        frames = [frame for clips in played(sampler, 4, 2) for clip in clips for frame in clip.pixels]
        assert not any(torch.equal(one, other) for at, one in enumerate(frames) for other in frames[:at])


def test_clips_ask_for_segments_by_the_task(data: Dataset) -> None:
    frame = data.train[0].frames[0]
    tracks = [segment.track for segment in frame.segments]
    assert sorted(track for track in tracks if track) == [5, 6, 7]
    wanted = {
        "panoptic": [(FLOOR, -1), (WALL, -1), (BOX, 5), (BOX, 7), (BALL, 6)],
        "instance": [(-1, -1), (BOX, 5), (BOX, 7), (BALL, 6)],
        "semantic": [(FLOOR, -1), (WALL, -1), (BOX, -1), (BALL, -1)],
    }
    for task, asked in wanted.items():
        with StreamSampler(data, settings(**PLAIN, task=task, family="videomt"), 0) as sampler:
            clip = sampler.batch(0, 0, 1)[0]
        assert sorted(zip(clip.classes.tolist(), clip.tracks.tolist(), strict=True)) == sorted(asked)
        assert clip.pixels.shape == (2, 3, SIDE, SIDE)
        assert clip.pixels.dtype == torch.float32
        assert clip.segments.shape == (2, SIDE // 2, SIDE // 2)
        assert clip.segments.dtype == clip.classes.dtype == clip.tracks.dtype == torch.int64
        shown = np.append(clip.classes.numpy(), 99)[clip.segments[0].numpy()]
        assert (shown[:, -1] == 99).all()  # the last two columns have no label
        assert (shown[:6, 0] == (-1 if task == "instance" else WALL)).all()
        assert (shown[14:, 0] == (-1 if task == "instance" else FLOOR)).all()
        assert (shown[8:10, -6:-4] == BALL).all()


@pytest.mark.parametrize("kind", [ImageSampler, StreamSampler])
def test_only_segments_with_a_pixel_are_asked_for(kind: Callable[..., ClipSampler], data: Dataset) -> None:
    counts = set()
    with kind(data, settings(jitter=(2.0, 2.0), whole=0.0), 0) as sampler:
        for clip in (clip for step in range(20) for clip in sampler.batch(step, 0, 1)):
            assert sorted(set(clip.segments.unique().tolist()) - {-1}) == list(range(len(clip.classes)))
            counts.add(len(clip.classes))
    assert len(counts) > 2


def test_nothing_is_asked_of_crowds_and_things_have_no_track_where_nobody_told_them_apart(tmp_path: Path) -> None:
    classes, instances = labels(0)
    instances[classes == BALL] = 0  # things without an instance among others are a crowd
    data = written(
        tmp_path / "data", {"crowd": [(picture(0), classes, instances)], "classes": [(picture(0), labels(0)[0], None)]}
    )
    with ImageSampler(data, settings(**PLAIN, batch=2), 0) as sampler:
        clips = sorted(sampler.batch(0, 0, 1), key=lambda clip: len(clip.classes))
    crowd, known = (sorted(zip(clip.classes.tolist(), clip.tracks.tolist(), strict=True)) for clip in clips)
    assert sorted(class_id for class_id, _ in crowd + known) == [FLOOR] * 2 + [WALL] * 2 + [BOX] * 3 + [BALL]
    by_name = {BALL in dict(each): each for each in (crowd, known)}
    assert [track for class_id, track in by_name[False] if class_id == BOX] == [5, 6]
    assert by_name[True] == [(FLOOR, -1), (WALL, -1), (BOX, -1), (BALL, -1)]
    without = next(clip for clip in clips if BALL not in clip.classes.tolist())
    assert (without.segments[0, 8:10, -6:-4] == -1).all()


def test_a_class_without_a_pixel_leaves_the_others_their_numbers(tmp_path: Path) -> None:
    classes = (DatasetClass("void", False, (1, 1, 1)), *CLASSES, DatasetClass("ghost", True, (2, 2, 2)))
    ids, instances = labels(0)
    ids = np.where(ids == 255, 255, ids + 1).astype(np.uint8)
    data = written(tmp_path / "data", {"a": [(picture(0), ids, instances)]}, classes)
    with ImageSampler(data, settings(**PLAIN), 0) as sampler:
        for clip in sampler.batch(0, 0, 1):
            assert set(clip.classes.tolist()) == {FLOOR + 1, WALL + 1, BOX + 1, BALL + 1}


def test_replay_mixes_in_its_share_with_classes_by_name_and_the_rest_unlabelled(tmp_path: Path) -> None:
    data = written(tmp_path / "data", {"a": [flat(10)] * 4, "b": [flat(10)] * 4})
    names = ("lava", "floor", "box")
    other = [DatasetClass(name, name == "box", (number, 9, 9)) for number, name in enumerate(names)]
    ids = np.full((24, 32), 1, np.uint8)
    ids[:12] = 0
    instances = np.zeros((24, 32), np.uint16)
    ids[20:, :16], instances[20:, :16] = 2, 4
    replay = written(tmp_path / "replay", {"x": [(np.full((24, 32, 3), 200, np.uint8), ids, instances)] * 5}, other)
    for kind in (ImageSampler, StreamSampler):
        with kind(data, settings(**PLAIN, replay=0.25, batch=8, streams=8), 0, replay) as sampler:
            clips = [clip for step in range(50) for clip in sampler.batch(step, 0, 1)]
        of_replay = [clip for clip in clips if levels(clip)[0] > 100]
        assert 0.15 < len(of_replay) / len(clips) < 0.35
        for clip in of_replay:
            assert sorted(clip.classes.tolist()) == [FLOOR, BOX]
            assert (clip.segments[:, :8] == -1).all()
            assert (clip.segments[:, 8:] >= 0).all()
        assert {tuple(clip.classes.tolist()) for clip in clips if levels(clip)[0] < 100} == {(FLOOR,)}


def test_replay_without_a_common_class_is_refused_by_its_folder(tmp_path: Path, data: Dataset) -> None:
    replay = written(tmp_path / "replay", {"x": [flat(9)]}, [DatasetClass("lava", False, (1, 2, 3))])
    with pytest.raises(DatasetError, match=r"replay has nothing to train on: of 1 training pictures none"):
        ImageSampler(data, settings(), 0, replay)


def test_validation_videos_are_never_shown(tmp_path: Path) -> None:
    data = written(tmp_path / "data", {"a": [flat(10)] * 3, "hidden": [flat(200)] * 3}, val="hidden")
    for kind in (ImageSampler, StreamSampler):
        with kind(data, settings(**PLAIN), 0) as sampler:
            assert {level for step in range(10) for clip in sampler.batch(step, 0, 1) for level in levels(clip)} == {10}


def test_pictures_without_labels_are_no_image_to_train_on_but_frames_of_streams(tmp_path: Path) -> None:
    data = written(tmp_path / "data", {"a": [flat(10), flat(200, class_id=255)] * 3})
    with ImageSampler(data, settings(**PLAIN), 0) as images, StreamSampler(data, settings(**PLAIN), 0) as streams:
        clips = [clip for step in range(5) for clip in images.batch(step, 0, 1)]
        assert {level for clip in clips for level in levels(clip)} == {10}
        clips = [clip for step in range(5) for clip in streams.batch(step, 0, 1)]
        assert {level for clip in clips for level in levels(clip)} == {10, 200}
        for clip in clips:
            assert [(frame >= 0).all().item() for frame in clip.segments] == [level == 10 for level in levels(clip)]


def test_pictures_of_mixed_sizes_are_trained_on_together(tmp_path: Path) -> None:
    sizes = [(24, 32), (100, 20), (1, 1), (7, 90)]
    data = written(tmp_path / "data", {f"v{n}": [flat(50 * n + 20, size)] * 2 for n, size in enumerate(sizes)})
    for family, task in (("videomt", "panoptic"), ("eomt", "panoptic"), ("eomt", "semantic")):
        for kind in (ImageSampler, StreamSampler):
            with kind(data, settings(family=family, task=task, noise=0.0), 0) as sampler:
                clips = [clip for step in range(20) for clip in sampler.batch(step, 0, 1)]
            assert all(clip.pixels.shape[1:] == (3, SIDE, SIDE) for clip in clips)
            # Of a narrow image at a small scale there may be nothing left.
            assert np.mean([clip.classes.tolist() == [FLOOR] for clip in clips]) > 0.9


def test_images_of_which_little_is_labelled_are_seen_where_it_is(tmp_path: Path) -> None:
    ids = np.full((24, 32), 255, np.uint8)
    ids[:12, :16] = FLOOR
    data = written(tmp_path / "data", {"a": [(picture(0), ids, None)]})
    with ImageSampler(data, settings(jitter=(2.0, 2.0), whole=0.0), 0) as sampler:
        clips = [clip for step in range(50) for clip in sampler.batch(step, 0, 1)]
    assert np.mean([len(clip.classes) for clip in clips]) > 0.97  # of single views it would be three in four


def damage(data: Dataset, *levels_of: int) -> list[Path]:
    """Cuts off the pictures of these flat grey levels."""
    paths = [
        frame.image for video in data.train for frame in video.frames if round(frame.read_image().mean()) in levels_of
    ]
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    return paths


@pytest.mark.parametrize("kind", [ImageSampler, StreamSampler])
def test_things_of_added_classes_are_pasted_with_labels_and_tracks_over_data_and_replay(
    kind: Callable[..., ClipSampler], tmp_path: Path
) -> None:
    data = written(tmp_path / "data", {"boxes": [(picture(number), *labels(number)) for number in range(6)]})
    replayed = written(tmp_path / "replay", {"floors": [flat(200), flat(220)]})
    plain = settings(**PLAIN, batch=10, streams=10, replay=0.5, paste=0.0)
    pasting = dataclasses.replace(plain, paste=0.5)
    added = {WALL, BOX}  # stuff is left where it is
    with ImageSampler(data, settings(**PLAIN, batch=6), 0) as images:
        seen = {image.pictures: image for image in images.batch(0, 0, 1)}
    with kind(data, plain, 0, replayed, added) as without, kind(data, pasting, 0, replayed, added) as sampler:
        befores, clips = ([clip for step in range(5) for clip in each.batch(step, 0, 1)] for each in (without, sampler))
    pasted_over, track_of, last = [], {}, {}
    for before, clip in zip(befores, clips, strict=True):
        frames = len(before.pictures)
        assert clip.pictures[:frames] == before.pictures
        if clip.pictures == before.pictures:
            assert_same([clip], [before])
            continue
        pasted_over.append(before.pictures[0][:3])
        if not clip.cut:
            assert clip.pictures[frames:] != last[clip.stream], "what is pasted goes on as the stream does"
        last[clip.stream] = clip.pictures[frames:]
        for frame, name in enumerate(clip.pictures[frames:]):
            other = seen[name,]
            boxes = class_ids(other)[0] == BOX
            assert torch.equal(class_ids(clip)[frame], torch.where(boxes, BOX, class_ids(before)[frame]))
            over = boxes.repeat_interleave(2, 0).repeat_interleave(2, 1)
            assert torch.equal(clip.pixels[frame], torch.where(over, other.pixels[0], before.pixels[frame]))
            for track in other.tracks[other.segments[0][boxes].unique()].tolist():
                its = other.segments[0] == other.tracks.tolist().index(track)
                (found,) = clip.tracks[clip.segments[frame][its].unique()].tolist()
                assert found not in before.tracks
                assert track_of.setdefault(found, track) == track
    assert len(track_of) == 2
    assert 0.3 < len(pasted_over) / len(clips) < 0.7
    assert set(pasted_over) == {"box", "flo"}


@pytest.mark.parametrize("loaders", [0, 2])
def test_damaged_pictures_are_replaced_by_their_neighbours_counted_and_named_once(
    loaders: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = {"a": [flat(level) for level in (10, 20, 30, 40)], "b": [flat(level) for level in (110, 120)]}
    data = written(tmp_path / "data", videos)
    broken = damage(data, 20, 110, 120)
    assert len(broken) == 3
    for kind in (ImageSampler, StreamSampler):
        caplog.clear()
        with caplog.at_level(logging.WARNING), kind(data, settings(**{**PLAIN, "loaders": loaders}), 0) as sampler:
            clips = [clip for step in range(30) for clip in sampler.batch(step, 0, 1)]
            assert {level for clip in clips for level in levels(clip)} == {10, 30, 40}
            assert sorted(sampler.damaged) == sorted(broken)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 3
        for number, text in enumerate(said, 1):
            assert f"skipped, number {number} of this process" in text
        assert all(any(str(path) in text for text in said) for path in broken)


def test_damage_is_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    videos = {"a": [flat(20 + 5 * frame) for frame in range(9)], "b": [flat(120 + 5 * frame) for frame in range(9)]}
    data = written(tmp_path / "data", videos)
    damage(data, 25, 120, 125, 130, 150)
    alone, *several = (StreamSampler(data, settings(loaders=0), 0) for _ in range(3))
    for step in range(20):
        clips = alone.batch(step, 0, 1)
        for rank, sampler in enumerate(several):
            assert_same(clips[rank::2], sampler.batch(step, rank, 2))


def test_without_a_picture_that_can_be_read_training_ends_with_the_first_one_named(tmp_path: Path) -> None:
    data = written(tmp_path / "data", {"a": [flat(10)], "b": [flat(20)]})
    damage(data, 10, 20)
    for kind in (ImageSampler, StreamSampler):
        with kind(data, settings(), 0) as sampler, pytest.raises(DatasetError) as caught:
            sampler.batch(0, 0, 1)
        assert str(caught.value).startswith(f"no training picture of {data.folder} can be read; the first: ")
        assert ".jpg is truncated or corrupt" in str(caught.value)


def test_a_picture_that_the_engine_would_refuse_is_skipped(tmp_path: Path) -> None:
    data = written(tmp_path / "data", {"a": [flat(10)], "narrow": [flat(200, (4, 100))]})
    with ImageSampler(data, settings(**PLAIN, family="eomt", task="semantic"), 0) as sampler:
        assert {level for step in range(5) for clip in sampler.batch(step, 0, 1) for level in levels(clip)} == {10}
        (error,) = sampler.damaged.values()
        assert "narrow/000000.jpg: image is 100x4" in str(error)
