"""Conventions of counting, where the field counts in several ways."""

from __future__ import annotations

from enum import Enum


class Convention(Enum):
    """The way STQ, SQ, AQ, mVC8 and mVC16 are counted; mIoU, VPQ and the figures of objects are the same in all."""

    STANDARD = "standard"
    PUBLISHED = "published"
    STQ = "stq"

    @property
    def meaning(self) -> str:
        """The convention in a sentence, for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Convention.STANDARD: "the metrics' definitions: SQ is the mIoU, what the truth leaves unlabelled counts nowhere",
    Convention.PUBLISHED: "the scripts published with VidEoMT: STQ, SQ and AQ as under stq, but without a thing that "
    "is listed first in its video; mVC16 mixes in the windows of 8 frames",
    Convention.STQ: "the program of STQ's authors: in SQ, classes and unlabelled pixels that are only predicted count "
    "as wrong classes; in AQ, what is predicted on unlabelled pixels counts; mVC as under standard",
}
