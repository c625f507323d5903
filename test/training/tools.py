"""Files as annotation tools export them, of the instances of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as masks

from eomt_ros.training.annotation_files import instances_file
from test.training.data_sets import HEIGHT, WIDTH

Content = dict[str, Any]


def content_of(data: Path, split: str = "train") -> Content:
    """The instances of a data set as they are."""
    content: Content = json.loads(instances_file(data, split).read_text())
    return content


def save(path: Path, content: Content) -> Path:
    path.write_text(json.dumps(content))
    return path


def mask_of(annotation: Content) -> npt.NDArray[np.bool_]:
    """(H, W), by pycocotools."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = masks.merge(masks.frPyObjects(segmentation, HEIGHT, WIDTH))
    elif isinstance(segmentation["counts"], list):
        segmentation = masks.frPyObjects(segmentation, HEIGHT, WIDTH)
    return masks.decode(segmentation).astype(bool)


def text_runs(mask: npt.NDArray[np.bool_]) -> Content:
    """Run lengths as pycocotools' text."""
    runs = masks.encode(np.asfortranarray(mask, np.uint8))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def listed_runs(mask: npt.NDArray[np.bool_]) -> Content:
    """Run lengths as a list."""
    pixels = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1).tolist(), pixels.size]
    counts = np.diff(edges).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *counts] if pixels[0] else counts}


def rectangle(rows: slice, columns: slice) -> list[list[float]]:
    """A polygon around these pixels."""
    left, right, top, bottom = columns.start, columns.stop, rows.start, rows.stop
    return [[left, top, right, top, right, bottom, left, bottom]]


def cvat(content: Content, *, keeps_track: bool) -> Content:
    """As CVAT exports `COCO 1.0`: masks as lists and called a crowd, everything numbered anew from 1.

    keeps_track: the labels have an attribute `track` there.
    """
    names = sorted(category["name"] for category in content["categories"])
    category_of = {each["id"]: names.index(each["name"]) + 1 for each in content["categories"]}
    image_of = {image["id"]: place for place, image in enumerate(content["images"], 1)}
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [{"id": place, "name": name, "supercategory": ""} for place, name in enumerate(names, 1)],
        "images": [
            {
                "id": image_of[image["id"]],
                "width": image["width"],
                "height": image["height"],
                "file_name": image["file_name"],
                "license": 0,
                "flickr_url": "",
                "coco_url": "",
                "date_captured": 0,
            }
            for image in content["images"]
        ],
        "annotations": [
            {
                "id": place,
                "image_id": image_of[each["image_id"]],
                "category_id": category_of[each["category_id"]],
                "segmentation": listed_runs(mask_of(each)),
                "area": each["area"],
                "bbox": each["bbox"],
                "iscrowd": 1,
                "attributes": {"occluded": False, **(each.get("attributes", {}) if keeps_track else {})},
            }
            for place, each in enumerate(content["annotations"], 1)
        ],
    }


def label_studio(
    content: Content, name: Callable[[str], str], *, runs: Callable[[npt.NDArray[np.bool_]], Content] = text_runs
) -> Content:
    """As Label Studio exports COCO: everything numbered from 0, pictures in a folder of its own, no tracks."""
    category_of = {each["id"]: place for place, each in enumerate(content["categories"])}
    image_of = {image["id"]: place for place, image in enumerate(content["images"])}
    return {
        "images": [
            {
                "width": image["width"],
                "height": image["height"],
                "id": image_of[image["id"]],
                "file_name": name(image["file_name"]),
            }
            for image in content["images"]
        ],
        "categories": [{"id": category_of[each["id"]], "name": each["name"]} for each in content["categories"]],
        "annotations": [
            {
                "id": place,
                "image_id": image_of[each["image_id"]],
                "category_id": category_of[each["category_id"]],
                "segmentation": runs(mask_of(each)),
                "bbox": each["bbox"],
                "ignore": 0,
                "iscrowd": 0,
                "area": each["area"],
            }
            for place, each in enumerate(content["annotations"])
        ],
        "info": {"year": 2026, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""},
    }
