"""From a frame's regions to what the tracker observes, and from its identities to segments."""

from __future__ import annotations

from collections.abc import Sequence

from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.postprocess.label_map import LabelMap, Region
from eomt_ros.engine.results import Segment
from eomt_ros.engine.tracking.tracker import Identity, Observation

MOST_QUERIES = 1 << 16


def observed(
    regions: Sequence[Region], is_thing: Sequence[bool], *, fused: bool, propagated: bool
) -> list[Observation]:
    """The regions as the tracker observes them.

    is_thing: one entry per class. fused: all regions of a stuff class are one. propagated: queries go from frame to
    frame. Where place is all there is to go by, stuff of which a frame has several regions is followed like things.
    """
    owner = {region.query: index for index, region in enumerate(regions)}
    return [
        Observation(
            slot=_slot(region, owns=owner[region.query] == index, fused=fused and not is_thing[region.class_id]),
            class_id=region.class_id,
            is_thing=is_thing[region.class_id] or not (fused or propagated),
            box=region.box,
        )
        for index, region in enumerate(regions)
    ]


def _slot(region: Region, *, owns: bool, fused: bool) -> int:
    """The query; of fused stuff a number of its class. With `top_k` a query can be several segments: the likeliest, the
    last, owns it, the others have numbers of query and class.
    """
    if fused:
        return -1 - region.class_id
    return region.query if owns else region.query + MOST_QUERIES * (1 + region.class_id)


def segments_of(label_map: LabelMap, labels: Labels, identities: Sequence[Identity]) -> list[Segment]:
    """The regions as segments, with their identities."""
    height, width = label_map.winner.shape
    return [
        Segment(
            id=identity.id,
            class_id=region.class_id,
            class_name=labels.class_names[region.class_id],
            is_thing=labels.is_thing[region.class_id],
            score=region.score,
            area=region.area,
            box=region.box,
            age=identity.age,
            mask=region.mask,
            image_size=(height, width),
        )
        for identity, region in zip(identities, label_map.regions, strict=True)
    ]
