"""The names that options have for formats and metrics, apart from the programs that need more than a moment to load."""

from __future__ import annotations

YOUTUBE_VIS, KITTI_MOTS = "youtube-vis", "kitti-mots"
EXPORTED_FORMATS = ("coco-panoptic", "vipseg", YOUTUBE_VIS, KITTI_MOTS)
TRACKEVAL = "trackeval"
