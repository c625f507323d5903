"""A label map as tests look at it: everything about its regions side by side."""

from __future__ import annotations

from eomt_ros.engine.postprocess.label_map import LabelMap


class Found:
    """Entry i of each tuple is region i."""

    def __init__(self, label_map: LabelMap) -> None:
        regions = label_map.regions
        self.semantic = label_map.semantic()
        self.segment_index = label_map.index
        self.confidence = label_map.shown_confidence()
        self.queries = tuple(region.query for region in regions)
        self.class_ids = tuple(region.class_id for region in regions)
        self.scores = tuple(region.score for region in regions)
        self.areas = tuple(region.area for region in regions)
        self.boxes = tuple(region.box for region in regions)
        self.masks = tuple(region.mask for region in regions)
