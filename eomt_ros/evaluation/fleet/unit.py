"""One recording of many: what it is called, and how it is known again.

A recording is known by a fingerprint of its content, which is the same at two paths, and its evaluation by a key: the
hash of that content, of the weights, of the settings, and of the package's version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import eomt_ros
from eomt_ros.engine.model.checkpoint import find_checkpoint
from eomt_ros.engine.model.weights import weight_files
from eomt_ros.evaluation.fleet.fingerprint import fingerprint
from eomt_ros.evaluation.fleet.inputs import unit_names
from eomt_ros.evaluation.fleet.remote import remote_fingerprint, without_secrets
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.slices import SlicePattern, tags_of
from eomt_ros.regular_file import sha256_of

SETTINGS = ("*.json", "*.yaml")
"""Files of a checkpoint that, beside its weights, decide what it finds."""


@dataclass(frozen=True)
class Unit:
    """A recording that is evaluated by itself."""

    name: str
    """Of its folder in the output folder; no two have the same."""
    path: Path | str
    """A URL is a text."""
    fingerprint: str
    """Of its content; empty where that cannot be read."""
    key: str
    """Of its evaluation: another one for other content, weights, settings or another version of the package."""
    tags: tuple[str, ...] = ()
    """Slices that it belongs to."""

    @property
    def address(self) -> str:
        """The path, absolute; the URL without what is secret in it."""
        return address_of(self.path)


def address_of(recording: Path | str) -> str:
    """The absolute path of a recording, or its URL without what is secret in it."""
    return without_secrets(recording) if isinstance(recording, str) else os.path.abspath(recording)


def fingerprint_of(recording: Path | str) -> str:
    """The fingerprint of a recording's content; empty where it cannot be read."""
    return remote_fingerprint(recording) if isinstance(recording, str) else fingerprint(recording)


def units_of(
    recordings: Sequence[Path | str], request: EvaluationRequest, slices: Sequence[SlicePattern] = ()
) -> tuple[list[Unit], list[str]]:
    """The units of recordings, in their order, and a note for each that has the content of one before it, and for each
    slice that is empty.

    slices: give them tags, as files beside them do. Raises `UserError` where the model cannot be found or tags cannot
    be read, `OSError` where the model cannot be read.
    """
    of_request = _request_key(request)
    units: list[Unit] = []
    seen: dict[str, str] = {}
    notes = []
    for name, path in zip(unit_names(recordings), recordings, strict=True):
        content = fingerprint_of(path)
        own = request.of_recording(name)
        beside = ["" if each is None else fingerprint(each) for each in (own.truth.folder, own.recorded)]
        unit = Unit(name, path, content, _hash([of_request, content, *beside]), tags_of(path, slices))
        if content in seen:
            notes.append(f"{unit.address} has the content of {seen[content]}, and is left out")
            continue
        if content:
            seen[content] = unit.address
        units.append(unit)
    empty = [each for each in slices if not any(each.fits(unit.path) for unit in units)]
    return units, [*notes, *(f"--slice {each.tag}:{each.pattern} fits no recording" for each in empty)]


def _request_key(request: EvaluationRequest) -> str:
    """The hash of all that decides what is found and counted, by content: where files lie does not matter."""
    model = request.model
    weights = ""
    if not request.predictions:
        folder, _ = find_checkpoint(model.model)
        settings = sorted(file for pattern in SETTINGS for file in folder.glob(pattern))
        weights = sha256_of([*weight_files(folder), *settings])
    files = [Path(each) for each in (model.labels, model.taxonomy, model.ignore_mask) if each and Path(each).is_file()]
    # Folders are told by their content, with each recording; the rest says nothing about figures.
    settings_alone = replace(
        request,
        model=replace(model, model="" if weights else model.model),
        truth=replace(request.truth, folder=None),
        predictions=request.predictions if request.recorded is None else "recorded",
        settings={},
    )
    return _hash([eomt_ros.__version__, weights, sha256_of(files), repr(settings_alone)])


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
