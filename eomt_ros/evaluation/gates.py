"""Gates of a CI: `--fail-if 'miou < 0.8'` fails an evaluation by any of its figures, of all recordings or of a slice.

1. A gate that names no figure, or a slice without a recording, is refused before anything runs.
2. A figure that cannot be known, such as the mIoU without a ground truth, fails its gate: nobody can say that all is
   well.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from eomt_ros.errors import UserError
from eomt_ros.evaluation.figure_names import ALIASES, expect_figure, flat_figures
from eomt_ros.evaluation.results import Recording, Results

SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM = re.compile(
    r"\s*(?P<figure>\S.*?)\s*(?P<sign><=|>=|==|!=|<|>)"
    r"\s*(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<percent>%?)"
    r"(?:\s+in\s+(?P<slice>\S.*?))?\s*"
)
_EXPECTED = (
    f"expected a figure, one of {' '.join(SIGNS)}, a number, and perhaps a slice, such as 'miou < 0.8' or "
    "'id_switches > 3 in night'"
)


class GateError(UserError):
    """A gate that nobody can judge; the message says which and why."""


@dataclass(frozen=True)
class Gate:
    """A condition on a figure under which an evaluation fails."""

    text: str
    """As the user wrote it."""
    figure: str
    """Its path in `Results`, or in the slice's `Recording`."""
    sign: str
    """One of `SIGNS`."""
    limit: float
    slice: str = ""
    """The tag of the slice, or the second half of it; empty for all recordings."""

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Reads what a user wrote. Raises `GateError` where it is no gate, or names no figure."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise GateError(f"--fail-if {text!r}: {_EXPECTED}")
        limit = float(found["limit"]) / (100 if found["percent"] else 1)
        if not math.isfinite(limit):
            raise GateError(f"--fail-if {text!r}: {found['limit']} is too large a number")
        figure = ALIASES.get(found["figure"], found["figure"])
        gate = cls(" ".join(text.split()), figure, found["sign"], limit, found["slice"] or "")
        gate.expect_figure()
        return gate

    def expect_figure(self, class_names: Sequence[str] | None = None) -> None:
        """Raises `GateError` where there is no such figure; class_names: the model's, once they are known."""
        try:
            expect_figure(self.figure, Recording if self.slice else Results, class_names)
        except ValueError as error:
            raise GateError(f"--fail-if {self.text!r}: {error}" + " (a slice)" * bool(self.slice)) from error

    def among(self, tags: Collection[str]) -> Gate:
        """The gate with the whole tag of its slice, of all that recordings have. Raises `GateError`."""
        if not self.slice:
            return self
        fits = [tag for tag in tags if self.slice in (tag, tag.partition("=")[2])]
        if self.slice in fits:
            fits = [self.slice]
        if len(fits) > 1:
            raise GateError(f"--fail-if {self.text!r}: {self.slice!r} may be {' or '.join(sorted(fits))}: say which")
        if not fits:
            like = difflib.get_close_matches(self.slice, sorted(tags), 1)
            hint = f"did you mean {like[0]!r}?" if like else f"there is {', '.join(sorted(tags)[:8]) or 'none'}"
            raise GateError(f"--fail-if {self.text!r}: no recording is in a slice {self.slice!r}; {hint}")
        return replace(self, slice=fits[0])

    def judge(self, found: Results) -> Judgement:
        """Whether the results pass; the slice is a whole tag, see `among`."""
        figures = found.slices.get(self.slice) if self.slice else found
        if figures is None:
            return Judgement(self, None, f"no recording of the slice {self.slice} has figures")
        value = flat_figures(figures).get(self.figure)
        text = "is not known" if value is None else f"is {value:.10g}"
        return Judgement(self, value, f"{self.figure} {text}")


@dataclass(frozen=True)
class Judgement:
    """What came of a gate."""

    gate: Gate
    value: float | None
    """The figure; None where it cannot be known."""
    reason: str
    """The figure in words, or why there is none."""

    @property
    def failed(self) -> bool:
        """True if the evaluation fails by this gate."""
        return self.value is None or bool(SIGNS[self.gate.sign](self.value, self.gate.limit))
