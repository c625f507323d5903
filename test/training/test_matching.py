"""Queries find their segments, and keep them while they are followed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from eomt_ros.training.clips import Clip
from eomt_ros.training.losses import batch_loss, clip_generators
from eomt_ros.training.matching import Identities, keys_of, match
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.trainee import Answer, Outputs
from test.training.shown import random_clip

CLASSES = 3
SIDE = 12


def strips(rows: Sequence[tuple[int, int]], *, cut: bool = False, frames: int = 2) -> Clip:
    """A clip of a strip for each (class, track), from the top down."""
    places = torch.arange(len(rows)).repeat_interleave(SIDE // len(rows))
    classes, tracks = torch.tensor(rows).view(-1, 2).unbind(1)
    return Clip(
        pixels=torch.zeros(frames, 3, 2 * SIDE, 2 * SIDE),
        segments=places[:, None].expand(frames, len(places), SIDE).clone(),
        classes=classes,
        tracks=tracks,
        cut=cut,
        first=cut,
    )


def showing(identities: Identities, clip: Clip, queries: int) -> Tensor:
    """Masks of a network that shows each segment by its query: a newcomer by a free one, or what is longest unseen."""
    state = identities.state()
    query_of = {} if clip.cut else state["query_of"]
    keys = keys_of(clip)
    unseen = sorted((seen, query_of[key]) for key, seen in state["last_seen"].items() if key in query_of)
    spare = [query for query in range(queries) if query not in query_of.values()]
    spare += [query for _, query in unseen if query not in {query_of.get(key) for key in keys.values()}]
    masks = torch.full((1, len(clip.segments), queries, SIDE, SIDE), -5.0)
    rows = torch.arange(SIDE) * clip.segments.shape[1] // SIDE
    for place in range(len(clip.classes)):
        query = query_of[keys[place]] if keys.get(place) in query_of else spare.pop(0) if spare else None
        if query is not None:
            masks[0, :, query][clip.segments[:, rows] == place] = 5.0
    return masks


def play(identities: Identities, clip: Clip, mask_logits: Tensor | None = None, queries: int = 6) -> dict[int, int]:
    """Lets the network's answers to a clip be matched, and returns the query of each track or, below 0, class.

    mask_logits: None for those of `showing`.
    """
    frames = len(clip.segments)
    if mask_logits is None:
        mask_logits = showing(identities, clip, queries)
    outputs = Outputs((Answer(mask_logits, torch.zeros(1, frames, queries, CLASSES + 1)),), torch.zeros(1, queries, 4))
    batch_loss(outputs, [clip], [identities], TrainingSettings(), clip_generators(0, 0, [clip], torch.device("cpu")))
    query_of: dict[int, int] = identities.state()["query_of"]
    return query_of


def test_a_newcomer_gets_the_query_that_shows_it_best() -> None:
    clip = strips([(0, 7), (1, 8)])
    shown = torch.full((1, 2, 6, SIDE, SIDE), -5.0)
    shown[:, :, 3, : SIDE // 2] = shown[:, :, 1, SIDE // 2 :] = 5.0
    assert play(Identities(100), clip, shown) == {7: 3, 8: 1}


def test_things_and_stuff_keep_their_queries_whatever_the_masks_say() -> None:
    identities = Identities(100)
    before = dict(play(identities, strips([(0, 7), (1, -1)], cut=True)))
    for seed in range(5):
        torch.manual_seed(seed)
        assert play(identities, strips([(1, -1), (0, 9), (0, 7)]), torch.randn(1, 2, 6, SIDE, SIDE)) == before


@pytest.mark.parametrize("shown", [5, 7])
def test_a_thing_has_a_query_once_it_is_shown_by_half(shown: int) -> None:
    """Of its twelve rows; until then another query may find it."""
    identities = Identities(100)
    clip = strips([(0, 7)], cut=True)
    masks = torch.full((1, 2, 6, SIDE, SIDE), -5.0)
    masks[:, 1:, 3, :shown] = 5.0
    assert play(identities, clip, masks) == ({7: 3} if shown == 7 else {})
    masks = torch.full((1, 2, 6, SIDE, SIDE), -5.0)
    masks[:, :, 4] = 5.0
    assert play(identities, strips([(0, 7)]), masks) == {7: 3 if shown == 7 else 4}


def test_a_thing_that_returns_has_its_query_until_it_is_forgotten() -> None:
    identities = Identities(forget_after=6)
    query = play(identities, strips([(0, 7), (0, 8)], cut=True))[7]
    for _ in range(3):  # of two frames each
        assert play(identities, strips([(0, 8)]))[7] == query
    assert 7 not in play(identities, strips([(0, 8)]))


def test_a_query_is_taken_from_what_is_longest_out_of_view_where_none_is_free() -> None:
    identities = Identities(forget_after=1000)
    play(identities, strips([(0, 1), (0, 2)], cut=True), queries=4)
    play(identities, strips([(0, 2), (0, 3)]), queries=4)
    held = dict(play(identities, strips([(0, 2)]), queries=4))
    after = play(identities, strips([(0, 4), (0, 5)]), queries=4)
    assert set(after) == {2, 3, 4, 5}
    assert (after[2], after[3]) == (held[2], held[3])


def test_another_video_begins_without_the_tracks_of_the_last() -> None:
    identities = Identities(100)
    play(identities, strips([(0, 7)], cut=True))
    assert set(play(identities, strips([(0, 8)], cut=True))) == {8}


def test_things_without_tracks_are_known_again_only_while_they_are_alone() -> None:
    identities = Identities(100)
    play(identities, strips([(0, -1), (0, -1), (1, -1)], cut=True))
    assert set(identities.state()["query_of"]) == {-2}


def test_more_segments_than_queries_are_matched_as_far_as_queries_go() -> None:
    identities = Identities(100)
    query_of = play(identities, strips([(0, track) for track in range(12)], cut=True), queries=5)
    assert sorted(query_of.values()) == [0, 1, 2, 3, 4]
    assert play(identities, strips([(0, track) for track in range(12)]), queries=5) == query_of


def test_a_restored_record_goes_on_as_the_one_that_was_saved() -> None:
    clips = [strips([(0, 7), (1, -1)], cut=True), strips([(0, 8)]), strips([(0, 8), (0, 7), (0, 9)])]
    one, other = Identities(3), Identities(3)
    for clip in clips[:2]:
        play(one, clip)
    other.restore(one.state())
    expected = dict(play(one, clips[2]))
    assert play(other, clips[2]) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_matched_last(value: float) -> None:
    costs = torch.tensor([[value, value], [0.0, 1.0], [1.0, 0.5]])
    assert match(costs, {}, [0, 1, 2], [0, 1]) == {0: 1, 1: 2}
    play(Identities(100), random_clip(size=2 * SIDE, classes=CLASSES), torch.full((1, 1, 6, SIDE, SIDE), value))
