"""What TrackEval's figures are made of, of any number of recordings: whole numbers, which add up in any order."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.errors import UserError
from eomt_ros.evaluation.exact import ONE, exact
from eomt_ros.extras import install_alone

ALPHAS = 19
"""IoU from which things match, 0.05 to 0.95, over which HOTA is the mean."""
THRESHOLDS = 10
"""IoU from which tracks match, 0.5 to 0.95, over which AP is the mean."""
QUIET = {"PRINT_CONFIG": False}

Exact = npt.NDArray[np.object_]
"""(ALPHAS,) sums in parts of `ONE`."""


def _no_things() -> npt.NDArray[np.int64]:
    return np.zeros(ALPHAS, np.int64)


def _nothing() -> Exact:
    return np.zeros(ALPHAS, object)


@dataclass(eq=False)
class ClassTracks:
    """The things of one class."""

    matched: npt.NDArray[np.int64] = field(default_factory=_no_things)
    """(ALPHAS,) pairs of a true and a predicted thing, summed over frames."""
    missed: npt.NDArray[np.int64] = field(default_factory=_no_things)
    wrong: npt.NDArray[np.int64] = field(default_factory=_no_things)
    association: Exact = field(default_factory=_nothing)
    """Association of each match, AssA before its mean."""
    iou: Exact = field(default_factory=_nothing)
    """IoU of each match."""
    ids: tuple[int, int, int] = (0, 0, 0)
    """IDTP, IDFN, IDFP."""
    true_tracks: int = 0
    tracks: tuple[tuple[int, int], ...] = ()
    """Of each predicted track the score in parts of `ONE`, and a bit for each of `THRESHOLDS` at which it matches."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers by a stranger that are none of these."""
        for name in ("matched", "missed", "wrong", "association", "iou"):
            if getattr(self, name).shape != (ALPHAS,):
                raise ValueError(f"{name} has the shape {getattr(self, name).shape}, expected {(ALPHAS,)}")
        if not all(0 <= score <= ONE and 0 <= bits < 1 << THRESHOLDS for score, bits in self.tracks):
            raise ValueError(f"tracks have scores or bits that are none, expected up to {ONE} and {THRESHOLDS} bits")

    @classmethod
    def of(cls, hota: dict[str, Any], identity: dict[str, Any], precision: dict[Any, Any]) -> ClassTracks:
        """Of one sequence, as TrackEval's metrics have counted it."""
        matched, tracks = hota["HOTA_TP"], precision[0]
        found = cls(
            matched=np.asarray(matched).astype(np.int64),
            missed=np.asarray(hota["HOTA_FN"]).astype(np.int64),
            wrong=np.asarray(hota["HOTA_FP"]).astype(np.int64),
            association=np.array([exact(each) for each in hota["AssA"] * matched], object),
            iou=np.array([exact(each) for each in hota["LocA"] * matched], object),
            ids=(int(identity["IDTP"]), int(identity["IDFN"]), int(identity["IDFP"])),
        )
        if tracks is not None:
            matches = np.asarray(tracks["dt_matches"]) != -1
            bits = (1 << np.arange(THRESHOLDS)) @ matches.astype(np.int64)
            scores = [exact(score) for score in tracks["dt_scores"]]
            found.true_tracks = len(tracks["gt_ids"])
            found.tracks = tuple(zip(scores, bits.tolist(), strict=True))
        return found

    def add(self, other: ClassTracks) -> None:
        """Adds other recordings."""
        self.matched = self.matched + other.matched
        self.missed = self.missed + other.missed
        self.wrong = self.wrong + other.wrong
        self.association = self.association + other.association
        self.iou = self.iou + other.iou
        one, two, three = (own + more for own, more in zip(self.ids, other.ids, strict=True))
        self.ids = one, two, three
        self.true_tracks += other.true_tracks
        self.tracks += other.tracks

    def hota(self) -> dict[str, Any]:
        """As TrackEval's HOTA has counted it."""
        pairs = np.maximum(self.matched, 1)
        iou = np.where(self.matched > 0, self.iou.astype(float) / ONE / pairs, 1.0)
        none = np.zeros(ALPHAS)
        return {
            "HOTA_TP": self.matched,
            "HOTA_FN": self.missed,
            "HOTA_FP": self.wrong,
            "LocA": iou,
            "AssA": self.association.astype(float) / ONE / pairs,
            "AssRe": none,
            "AssPr": none,
        }

    def identity(self) -> dict[str, int]:
        """As TrackEval's Identity has counted it."""
        return dict(zip(("IDTP", "IDFN", "IDFP"), self.ids, strict=True))

    def precision(self) -> dict[int, dict[str, Any] | None]:
        """As TrackEval's TrackMAP has counted it; the order of tracks of one score is not that of recordings."""
        if not self.tracks and not self.true_tracks:
            return {0: None}
        tracks = sorted(self.tracks, reverse=True)
        bits = np.array([each for _, each in tracks], np.int64)
        return {
            0: {
                "dt_scores": np.array([score / ONE for score, _ in tracks]),
                "dt_matches": np.where(bits[None, :] >> np.arange(THRESHOLDS)[:, None] & 1, 1, -1),
                "dt_ignore": np.zeros((THRESHOLDS, len(tracks))),
                "gt_ignore": np.zeros(self.true_tracks),
            }
        }


@dataclass(eq=False)
class TrackCounts:
    """The things of all classes, by class id."""

    classes: dict[int, ClassTracks] = field(default_factory=dict)

    def add(self, other: TrackCounts) -> None:
        """Adds other recordings."""
        for class_id, tracks in other.classes.items():
            self.classes.setdefault(class_id, ClassTracks()).add(tracks)

    def figures(self) -> dict[str, float]:
        """The figures by TrackEval's names; none where there was no thing. Raises `UserError` without TrackEval.

        HOTA and IDF1 are of all classes' things together, AP and AR the means over classes with true tracks.
        """
        if not self.classes:
            return {}
        metrics = trackeval_metrics()
        things = metrics.HOTA().combine_classes_det_averaged({each: of.hota() for each, of in self.classes.items()})
        ids = metrics.Identity(QUIET).combine_classes_det_averaged(
            {each: of.identity() for each, of in self.classes.items()}
        )
        precision = average_precision(metrics)
        tracks = precision.combine_classes_class_averaged(
            {each: precision.combine_sequences({"all": of.precision()}) for each, of in self.classes.items()}
        )
        average, recall = tracks["AP_all"], tracks["AR_all"]
        found = {
            **{name: float(np.mean(things[name])) for name in ("HOTA", "DetA", "AssA", "LocA")},
            "IDF1": float(ids["IDF1"]),
        }
        if average[0] >= 0:
            found |= {"AP": float(np.mean(average)), "AP50": float(average[0]), "AP75": float(average[5])}
            found["AR"] = float(np.mean(recall))
        return found


def average_precision(metrics: ModuleType) -> Any:
    """TrackEval's AP, with the IoU of tracks that were counted in place of one that it counts anew from masks.

    It takes each predicted track as its IoU with all true ones, and these as their places.
    """

    class CountedPrecision(metrics.TrackMAP):  # type: ignore[misc, name-defined]  # of a library without types
        @staticmethod
        def _compute_track_ious(dt: list[list[float]], gt: list[int], **_: object) -> npt.NDArray[np.float64]:
            return np.array([[row[number] for number in gt] for row in dt], float).reshape(len(dt), len(gt))

    return CountedPrecision({**QUIET, "USE_AREA_RANGES": False, "USE_TIME_RANGES": False})


def trackeval_metrics() -> ModuleType:
    """TrackEval's metrics. Raises `UserError` where it is missing."""
    try:
        # It prints what it misses for data sets that are of no interest here.
        with contextlib.redirect_stdout(io.StringIO()):
            import trackeval.metrics
    except ImportError as error:
        raise UserError(f"--metrics trackeval: {error}: {install_alone('trackeval')}") from error
    return trackeval.metrics  # type: ignore[no-any-return]
