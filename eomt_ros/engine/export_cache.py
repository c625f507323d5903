"""Exported networks on disk: made once, found again by what they were made from, never trusted unseen.

An entry is a folder, named by the network's content. It lies next to the checkpoint, so that it goes where the
checkpoint goes, or in the user's cache where that folder cannot be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from eomt_ros.engine.checkpoint import Checkpoint
from eomt_ros.engine.errors import BackendError
from eomt_ros.engine.export import EXPORT_VERSION, Export, export_step, first_line
from eomt_ros.engine.network import Videomt

log = logging.getLogger(__name__)

FOLDER = "exported"
MANIFEST = "manifest.json"
"""Written last: the version of the export, and size and digest of every other file."""

UNFINISHED = ".unfinished-"
ABANDONED_S = 3600.0
"""After this an unfinished entry belongs to a process that was killed."""


def exported(checkpoint: Checkpoint, dtype: torch.dtype) -> Path:
    """The folder of a network's export, from the cache or made now.

    dtype: what the export computes in. Raises `BackendError` where it is not there and cannot be made or kept.
    """
    name = _name(checkpoint.network, dtype)
    places = [checkpoint.folder / FOLDER, user_cache() / FOLDER]
    for place in places:
        if _is_sound(place / name):
            return place / name
    log.info("exporting the network of %s: once, for all later starts", checkpoint.name)
    export = export_step(checkpoint.network, dtype)
    refusals = []
    for place in places:
        try:
            return _keep(export, place, name)
        except OSError as error:
            refusals.append(str(error))
    raise BackendError(
        f"the exported network cannot be kept: {'; '.join(refusals)}. Make one of the folders writable, "
        "or name another by XDG_CACHE_HOME"
    )


def user_cache() -> Path:
    """The folder of this package in the user's cache, as the platform has it."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        base = Path(named)
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    else:
        base = Path("~/.cache")
    return Path(os.path.expanduser(base)) / "eomt_ros"


def _name(network: Videomt, dtype: torch.dtype) -> str:
    """Names an entry by all that decides what the network computes."""
    digest = hashlib.sha256(json.dumps(asdict(network.settings), sort_keys=True).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(memoryview(weight.contiguous().view(torch.uint8).numpy()))
    return f"{str(dtype).removeprefix('torch.')}-{digest.hexdigest()[:24]}"


def _is_sound(entry: Path) -> bool:
    """Whether an entry is there, of this version, and whole; why not is logged where there is something."""
    try:
        if not entry.is_dir():
            return False
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != EXPORT_VERSION:
            log.warning(
                "%s is of export version %s, expected %d: made anew", entry, manifest["version"], EXPORT_VERSION
            )
            return False
        damaged = sorted(name for name, expected in manifest["files"].items() if _digest(entry / name) != expected)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s): made anew", entry, first_line(error))
        return False
    if damaged:
        log.warning("%s is damaged (%s): made anew", entry, ", ".join(damaged))
    return not damaged


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _keep(export: Export, place: Path, name: str) -> Path:
    """Writes an entry beside its place and moves it there whole: no other process ever sees half of it.

    Raises `OSError` where that cannot be done.
    """
    place.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(place)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=place, ignore_cleanup_errors=True) as folder:
        unfinished = Path(folder) / name
        unfinished.mkdir()
        export.write(unfinished)
        manifest = {
            "version": EXPORT_VERSION,
            "torch": torch.__version__,
            "files": {path.name: _digest(path) for path in sorted(unfinished.iterdir())},
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        entry = place / name
        # One that is not sound gives way; where another process put a sound one there meanwhile, that one stays.
        if entry.exists() and not _is_sound(entry):
            with contextlib.suppress(FileNotFoundError):
                entry.rename(Path(folder) / "replaced")
        try:
            unfinished.rename(entry)
        except OSError:
            if not _is_sound(entry):
                raise
    log.info("the exported network is kept in %s", entry)
    return entry


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder)
