"""IDF1, ghosts (predicted things that are not there), and ids that stand for several things.

A predicted thing counts in a frame where it is as large as a true one has to be to be in view, and does not lie mostly
on what nobody labelled. One that matches no true thing is a ghost. What matches a true thing that is itself not counted
is not counted either.

IDF1 (Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016): every true
thing of a sequence gets at most one id, and every id at most one thing, so that most frames agree; then

    IDF1 = 2 * frames that agree / (frames of true things + frames of predicted ones)

An id is one whatever classes it is given, so that one which two things of different classes share is wrong for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from eomt_ros.evaluation.metrics.overlap import Key, Overlap, spared

PredictedId = tuple[int, int]
"""(epoch, id)"""


@dataclass(frozen=True)
class IdentityCounts:
    """Summed over frames, and over sequences by `+`."""

    frames: int = 0
    true: int = 0
    """True things."""
    predicted: int = 0
    """Predicted things."""
    matched: int = 0
    """Pairs of a true and a predicted thing that match."""
    agreed: int = 0
    """Pairs whose predicted id is the one id of the true thing, see above."""
    shared_ids: int = 0
    """Ids that were matched with more than one thing of a sequence."""

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        return IdentityCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class IdMatches:
    """Counts how often each id matched each thing of one sequence; keeps a few numbers per pair."""

    def __init__(self) -> None:
        self._frames = 0
        self._true: Counter[Key] = Counter()
        self._predicted = 0
        self._matched: Counter[tuple[Key, PredictedId]] = Counter()

    def update(self, overlap: Overlap, in_view: Collection[Key], smallest: float) -> int:
        """Counts one frame, and returns the number of its ghosts.

        in_view: the true things that are. smallest: pixels that a predicted thing must have.
        """
        ghosts = 0
        self._frames += 1
        shown = set(in_view)
        self._true.update(shown)
        matches = {predicted: true for true, predicted in overlap.matches.items()}
        sizes = overlap.counts.sum(axis=0)
        is_spared = spared(overlap.counts, overlap.truth, overlap.prediction)
        counted = overlap.prediction.are_things & (sizes >= smallest) & ~is_spared
        for key, is_counted in zip(overlap.prediction.keys, counted.tolist(), strict=True):
            true = matches.get(key)
            if true in shown:
                self._predicted += 1
                self._matched[true, (key.epoch, key.id)] += 1
            elif true is None and is_counted:
                ghosts += 1
        self._predicted += ghosts
        return ghosts

    def counts(self, things: Collection[Key]) -> IdentityCounts:
        """The counts so far. things: the true things that count."""
        kept = set(things)
        matched = {(true, by): frames for (true, by), frames in self._matched.items() if true in kept}
        return IdentityCounts(
            frames=self._frames,
            true=sum(self._true[key] for key in kept),
            predicted=self._predicted - sum(self._matched.values()) + sum(matched.values()),
            matched=sum(matched.values()),
            agreed=_most_that_agree(matched),
            shared_ids=sum(count > 1 for count in Counter(by for _, by in matched).values()),
        )


def _most_that_agree(matched: dict[tuple[Key, PredictedId], int]) -> int:
    """The frames of the best pairs of a thing and an id, each in one pair at most."""
    if not matched:
        return 0
    rows = {true: row for row, true in enumerate(dict.fromkeys(true for true, _ in matched))}
    columns = {by: column for column, by in enumerate(dict.fromkeys(by for _, by in matched))}
    # Each thing has a column of its own too, for no id. Sparse, because an hour has thousands of ids; and 1 more
    # everywhere, because a pair of weight 0 would be none.
    places = [(rows[true], columns[by], 1 + frames) for (true, by), frames in matched.items()]
    places += [(row, len(columns) + row, 1) for row in rows.values()]
    row, column, weight = np.array(places).T
    weights = csr_matrix((weight, (row, column)), shape=(len(rows), len(columns) + len(rows)))
    best = min_weight_full_bipartite_matching(weights, maximize=True)
    return int(weights[best].sum()) - len(rows)
