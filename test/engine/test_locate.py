"""The places of what a frame shows, which a caller gives before its segments have ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.engine.postprocess.label_map import Region
from eomt_ros.engine.tracking.places import Places
from test.engine.checkpoints import FOUND
from test.engine.pictures import clip


@pytest.fixture
def segmenter(models: dict[str, Path], table: Path) -> Segmenter:
    """Finds some segments in every picture."""
    return Segmenter.load(
        models["videomt"], device="cpu", precision="float32", labels=str(table), score_threshold=FOUND["panoptic"]
    )


class Guide:
    """Knows no place, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[np.ndarray, Sequence[Region]]] = []

    def __call__(self, index: np.ndarray, regions: Sequence[Region]) -> Places:
        self.shown.append((index, regions))
        return Places(np.full((len(regions), 3), np.nan))


def lost(index: np.ndarray, regions: Sequence[Region]) -> Places:
    raise KeyError("where am I?")


def ids(result: FrameResult) -> list[int]:
    return [segment.id for segment in result.segments]


def test_locate_is_shown_the_segments_of_each_frame_once(segmenter: Segmenter) -> None:
    stream, guide = segmenter.open_stream(), Guide()
    results = [stream.segment(image, locate=guide) for image in clip(3)]
    assert len(guide.shown) == 3
    for result, (index, regions) in zip(results, guide.shown, strict=True):
        assert result.segments
        assert [region.box for region in regions] == [segment.box for segment in result.segments]
        of_index = np.array([0, *ids(result)], np.uint16)
        np.testing.assert_array_equal(of_index[index], result.panoptic)


def test_places_that_are_not_known_change_nothing(segmenter: Segmenter) -> None:
    without, stream = segmenter.open_stream(), segmenter.open_stream()
    for image in clip(4):
        assert ids(stream.segment(image, locate=Guide())) == ids(without.segment(image))


def test_each_stream_of_a_batch_has_its_own_locate(segmenter: Segmenter) -> None:
    streams, guide = [segmenter.open_stream() for _ in range(2)], Guide()
    _, found = segmenter.segment_batch(clip(2), streams, locate=[None, guide])
    ((_, regions),) = guide.shown
    assert [region.area for region in regions] == [segment.area for segment in found.segments]


def test_locate_that_fails_leaves_every_stream_of_the_batch_as_it_was(segmenter: Segmenter) -> None:
    streams = [segmenter.open_stream() for _ in range(2)]
    first, second = clip(2), clip(4)[2:]
    segmenter.segment_batch(first, streams)
    with pytest.raises(KeyError, match="where am I"):
        segmenter.segment_batch(second, streams, locate=[None, lost])
    again = segmenter.segment_batch(second, streams)
    untouched = [segmenter.open_stream() for _ in range(2)]
    segmenter.segment_batch(first, untouched)
    assert [each.segments for each in again] == [each.segments for each in segmenter.segment_batch(second, untouched)]


def test_places_of_another_number_of_segments_are_refused_with_both(segmenter: Segmenter) -> None:
    def locate(index: np.ndarray, regions: Sequence[Region]) -> Places:
        return Places(np.zeros((len(regions) + 1, 3)))

    with pytest.raises(ValueError, match=r"locate gave places of shape \(\d+, 3\), expected \(\d+, 3\)"):
        segmenter.open_stream().segment(clip(1)[0], locate=locate)


def test_as_many_locate_as_images_are_expected(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="got 1 images, 1 streams, 1 stamps and 2 locate"):
        segmenter.segment_batch(clip(1), [segmenter.open_stream()], locate=[None, None])
