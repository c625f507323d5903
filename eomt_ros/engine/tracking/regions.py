"""From a frame's regions to segments with ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.postprocess.label_map import LabelMap, Region
from eomt_ros.engine.results import Segment
from eomt_ros.engine.tracking.places import Places
from eomt_ros.engine.tracking.reidentify import NOTHING_REMEMBERED, Recall
from eomt_ros.engine.tracking.tracker import Identities, Identity, Observation

MOST_QUERIES = 1 << 16


def segments_of(
    label_map: LabelMap,
    labels: Labels,
    identities: Identities | None,
    stamp: int | None,
    *,
    fused: bool,
    propagated: bool,
    places: Places | None = None,
    embeddings: Sequence[np.ndarray | None] | None = None,
    recall: Recall = NOTHING_REMEMBERED,
) -> list[Segment]:
    """The segments of a stream's next frame, in the order of its regions.

    identities: of the stream; None in the semantic task, where all ids are 0. stamp: in nanoseconds. fused: all regions
    of a stuff class are one. propagated: queries go from frame to frame. places: of the regions, where any is known.
    embeddings: of each region, as in `Segment`; None for none. recall: whether and how a thing that comes back gets its
    old id.
    """
    regions = label_map.regions
    embeddings = [None] * len(regions) if embeddings is None else embeddings
    if identities is None:
        return _named(label_map, labels, [Identity(id=0, age=0)] * len(regions), embeddings)
    observations = _observed(regions, fused, propagated, places, embeddings)
    seen = None if propagated else label_map.index
    jumps = None if places is None else places.jumps
    named = identities.update(observations, label_map.winner.shape[1], stamp, seen, recall, jumps)
    return _named(label_map, labels, named, embeddings)


def _observed(
    regions: Sequence[Region],
    fused: bool,
    propagated: bool,
    places: Places | None,
    embeddings: Sequence[np.ndarray | None],
) -> list[Observation]:
    """The regions as the tracker observes them.

    Where place is all there is to go by, stuff of which a frame has several regions is followed like things.
    """
    owner = {region.query: index for index, region in enumerate(regions)}
    known = [None] * len(regions) if places is None else places.each()
    return [
        Observation(
            slot=_slot(region, owns=owner[region.query] == index, fused=fused and not region.is_thing),
            class_id=region.class_id,
            is_thing=region.is_thing or not (fused or propagated),
            box=region.box,
            place=place,
            embedding=embedding,
        )
        for index, (region, place, embedding) in enumerate(zip(regions, known, embeddings, strict=True))
    ]


def _slot(region: Region, *, owns: bool, fused: bool) -> int:
    """The query; of fused stuff a number of its class. With `top_k` a query can be several segments: the likeliest, the
    last, owns it, the others have numbers of query and class.
    """
    if fused:
        return -1 - region.class_id
    return region.query if owns else region.query + MOST_QUERIES * (1 + region.class_id)


def _named(
    label_map: LabelMap, labels: Labels, identities: Sequence[Identity], embeddings: Sequence[np.ndarray | None]
) -> list[Segment]:
    height, width = label_map.winner.shape
    return [
        Segment(
            id=identity.id,
            class_id=region.class_id,
            class_name=labels.class_names[region.class_id],
            is_thing=region.is_thing,
            score=region.score,
            area=region.area,
            box=region.box,
            age=identity.age,
            mask=region.mask,
            image_size=(height, width),
            returned=identity.returned,
            embedding=embedding,
        )
        for identity, region, embedding in zip(identities, label_map.regions, embeddings, strict=True)
    ]
