"""Results as other programs take them: a picture, supervision's detections, COCO's run lengths."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools import mask as coco

from eomt_ros.engine import FrameResult, Segmenter, decode_mask
from eomt_ros.overlay import draw
from test.engine.checkpoints import write_checkpoint

HEIGHT, WIDTH = 97, 131
THRESHOLDS = {"panoptic": 0.3, "instance": 0.2, "semantic": 0.0}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    patches = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)
    return patches[np.arange(HEIGHT) * 5 // HEIGHT][:, np.arange(WIDTH) * 7 // WIDTH]


@pytest.fixture(scope="module", params=THRESHOLDS)
def result(request, tmp_path_factory, picture) -> FrameResult:
    folder = write_checkpoint(tmp_path_factory.mktemp("checkpoint"), num_queries=24)
    thresholds = {"score_threshold": THRESHOLDS[request.param], "overlap_threshold": 0.3}
    segmenter = Segmenter.load(folder, device="cpu", precision="float32", task=request.param, **thresholds)
    found = segmenter.open_stream().segment(picture, with_masks=True)
    assert len(found.segments) > 1
    return found


def test_plot_is_the_overlay_of_the_node(result, picture):
    plotted = result.plot(picture, alpha=0.3)
    np.testing.assert_array_equal(plotted, draw(picture, result, result.labels, alpha=0.3))
    np.testing.assert_array_equal(plotted, result.plot(Image.fromarray(picture), alpha=0.3))
    assert (plotted != picture).any()


def test_plot_refuses_an_image_of_another_size(result, picture):
    with pytest.raises(ValueError, match="image is 97x131, expected the one that was segmented, 131x97"):
        result.plot(np.ascontiguousarray(picture.transpose(1, 0, 2)))


def test_supervision_gets_every_segment(result):
    found = result.to_supervision()
    assert len(found) == len(result.segments)
    assert found.class_id.tolist() == [segment.class_id for segment in result.segments]
    assert found.confidence.tolist() == pytest.approx([segment.score for segment in result.segments])
    assert found.area.tolist() == [segment.area for segment in result.segments]
    assert found["class_name"].tolist() == [segment.class_name for segment in result.segments]
    np.testing.assert_array_equal(found.xyxy, supervision.mask_to_xyxy(found.mask) + np.array([0, 0, 1, 1]))
    ids = [segment.id for segment in result.segments]
    assert found.tracker_id is None if not any(ids) else found.tracker_id.tolist() == ids


def test_supervision_gets_the_pixels_that_are_seen_where_masks_were_not_asked_for(result):
    blind = [type(segment)(**{**vars(segment), "mask": None}) for segment in result.segments]
    found = type(result)(**{**vars(result), "segments": blind}).to_supervision()
    for mask, segment in zip(found.mask, blind, strict=True):
        seen = result.panoptic == segment.id if segment.id else result.semantic == segment.class_id
        np.testing.assert_array_equal(mask, seen)


def test_supervision_gets_no_detections_of_an_empty_frame(result):
    assert len(type(result)(**{**vars(result), "segments": []}).to_supervision()) == 0


def test_pycocotools_reads_the_run_lengths_after_json(result):
    for segment in result.segments:
        run_lengths = json.loads(json.dumps(segment.to_coco_rle()))
        assert run_lengths["size"] == [HEIGHT, WIDTH]
        x, y, width, height = segment.box
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[y : y + height, x : x + width] = decode_mask(segment.mask, segment.box)
        np.testing.assert_array_equal(coco.decode(run_lengths), expected)
        assert coco.toBbox(run_lengths).tolist() == [x, y, width, height]


def test_run_lengths_that_were_not_asked_for_are_refused_with_what_to_do(result):
    blind = type(result.segments[0])(**{**vars(result.segments[0]), "mask": None})
    with pytest.raises(ValueError, match="ask for masks: segment\\(image, with_masks=True\\)"):
        blind.to_coco_rle()


@pytest.mark.parametrize("package", ["supervision", "pycocotools"])
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(result, monkeypatch, package):
    for name in (package, "pycocotools.mask"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install .*{package}"):
        result.to_supervision() if package == "supervision" else result.segments[0].to_coco_rle()
