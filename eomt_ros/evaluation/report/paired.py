"""Two evaluations of the same recordings, recording by recording: is a difference more than chance?

For each figure the differences of the recordings that both have are taken, the second run's less the first's, each
recording counting once. Which recordings there are is chance too: the interval holds the mean difference of 95 of 100
sets of such recordings, by the bootstrap (bias-corrected and accelerated, Efron 1987; scipy.stats.bootstrap).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.report.figures import GROUPS, Better, Figure, Kind, as_text
from eomt_ros.evaluation.results import Recording

FEWEST_RECORDINGS = 6
"""Resampling fewer says little."""
RESAMPLES = 9999
CONFIDENCE = 0.95
AT_ONCE = 1 << 22
"""Numbers that a step of the bootstrap has in memory."""
FIGURES = tuple(
    figure for group in GROUPS.values() for figure in group if figure.better is not Better.NEITHER
)  # latencies are not known of recordings, and fall out


class Evidence(Enum):
    """What the differences of recordings say about the second run."""

    BETTER = "better"
    WORSE = "worse"
    CHANCE = "not more than chance"
    EQUAL = "equal"
    FEW = "too few recordings"


@dataclass(frozen=True)
class PairedFigure:
    """The differences of a figure between two runs over the same recordings."""

    figure: Figure
    pairs: int
    """Recordings of which both runs know the figure."""
    better: int
    """Of those, the ones in which the second run is better."""
    worse: int
    mean: float
    low: float
    """End of the interval of the mean, as is `high`; NaN where there are too few pairs."""
    high: float
    evidence: Evidence

    @property
    def mean_text(self) -> str:
        """The mean difference as it prints."""
        return signed(self.mean, self.figure)

    @property
    def interval_text(self) -> str:
        """The interval as it prints."""
        return "" if np.isnan(self.low) else f"{signed(self.low, self.figure)} to {signed(self.high, self.figure)}"


@dataclass(frozen=True)
class PairedRuns:
    """Two runs over the same recordings."""

    figures: tuple[PairedFigure, ...]
    pairs: tuple[tuple[Recording, Recording], ...]
    only_first: tuple[str, ...]
    """Names of the recordings that only the first run has."""
    only_second: tuple[str, ...]


def paired(first: Sequence[Recording], second: Sequence[Recording]) -> PairedRuns:
    """Compares two runs by the recordings that both have: of one content, or where that is not known of one name."""
    shared = _fingerprints(first) & _fingerprints(second)
    unknown = {each.name for each in (*first, *second) if not each.fingerprint}

    def key(recording: Recording) -> tuple[str, str]:
        """The content where both have it; of one name with other content it is another recording."""
        if recording.fingerprint in shared:
            return recording.fingerprint, ""
        return "" if recording.name in unknown else recording.fingerprint, recording.name

    ours, theirs = ({key(each): each for each in run} for run in (first, second))
    pairs = tuple((each, theirs[name]) for name, each in ours.items() if name in theirs)
    return PairedRuns(
        figures=tuple(found for figure in FIGURES if (found := _figure(figure, pairs)) is not None),
        pairs=pairs,
        only_first=tuple(each.name for name, each in ours.items() if name not in theirs),
        only_second=tuple(each.name for name, each in theirs.items() if name not in ours),
    )


def signed(value: float, figure: Figure) -> str:
    """A difference as it prints, with its sign."""
    kind = Kind.RATIO if figure.kind is Kind.COUNT else figure.kind  # the mean of counts is none
    text = as_text(abs(value), kind)
    return text if text == as_text(0.0, kind) else f"{'-' if value < 0 else '+'}{text}"


def interval_of_mean(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The interval that holds the mean of so many recordings in `CONFIDENCE` of all cases; the same in every run.

    differences: (N,) one for each recording, N at least `FEWEST_RECORDINGS`.
    """
    mean = float(differences.mean())
    if np.allclose(differences, mean, rtol=1e-9, atol=1e-12):  # which has no acceleration
        return mean, mean
    from scipy.stats import bootstrap

    found = bootstrap(
        (differences,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // len(differences)),
        method="BCa",
        random_state=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _fingerprints(recordings: Sequence[Recording]) -> set[str]:
    """Those that one recording has."""
    counts = Counter(each.fingerprint for each in recordings)
    return {each for each, count in counts.items() if each and count == 1}


def _figure(figure: Figure, pairs: Sequence[tuple[Recording, Recording]]) -> PairedFigure | None:
    """None where no recording has the figure in both runs."""
    values = [(figure.value(one), figure.value(other)) for one, other in pairs]
    found = np.array([other - one for one, other in values if one is not None and other is not None], float)
    if not len(found):
        return None
    gains = found if figure.better is Better.HIGHER else -found
    low, high = interval_of_mean(found) if len(found) >= FEWEST_RECORDINGS else (np.nan, np.nan)
    mean = float(found.mean())
    return PairedFigure(
        figure,
        pairs=len(found),
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        mean=mean,
        low=low,
        high=high,
        evidence=_evidence(figure, found, low, high),
    )


def _evidence(figure: Figure, differences: npt.NDArray[np.float64], low: float, high: float) -> Evidence:
    if not differences.any():
        return Evidence.EQUAL
    if np.isnan(low):
        return Evidence.FEW
    if low <= 0 <= high:
        return Evidence.CHANCE
    return Evidence.BETTER if (low > 0) == (figure.better is Better.HIGHER) else Evidence.WORSE
