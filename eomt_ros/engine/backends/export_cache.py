"""Exported networks on disk: made once, found by the content of the network, checked at every load.

An entry is a folder, named by the network's content. It lies in the user's cache, or next to the checkpoint, where
`eomt-ros export` puts it so that it travels with the checkpoint. torch's version is not part of the name: a robot may
have another one than the machine that exported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import reprlib
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from eomt_ros.engine.backends.export import ANSWERS, EXPORT_VERSION, MODEL, Export, export_step, exportable
from eomt_ros.engine.device import PRECISIONS
from eomt_ros.engine.errors import BackendError, first_line, listed
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.regular_file import read_bytes, sha256_of

log = logging.getLogger(__name__)

EXPORTS_FOLDER = "exported"
MANIFEST = "manifest.json"
"""Written last: the version of the export, and the digest of every other file."""
LARGEST_MANIFEST = 1 << 16
"""Bytes."""

CACHE_BYTES = 4 * 2**30
"""Limit of the user's cache; the least recently used entries go first. A large network takes 1.3 GB."""

UNFINISHED = ".unfinished-"
ABANDONED_S = 3600.0
"""Seconds after which the process of an unfinished entry must have been killed."""


def exported(checkpoint: Checkpoint, dtype: torch.dtype, places: Sequence[Path] | None = None) -> Path:
    """The folder of a network's export, found or made now.

    dtype: what the export computes in. places: the folders to look in and to put it, the first that works; by default
    the user's cache and the folder next to the checkpoint.

    Raises `BackendError` where it is not there and cannot be made or kept.
    """
    network = exportable(checkpoint)
    places = places or _places(checkpoint)
    found = find(checkpoint, dtype, places)
    if found is not None:
        return found
    log.info("exporting the network of %s, once for all later starts: this can take a minute", checkpoint.name)
    export = export_step(network, dtype)
    name = _name(network, dtype)
    cache = user_cache() / EXPORTS_FOLDER
    refusals = []
    for place in places:
        try:
            entry = _keep(export, place, name)
        except OSError as error:
            refusals.append(f"{place}: {error.strerror or error}")
            continue
        if place == cache:
            _bound(cache, entry)
        return entry
    raise BackendError(
        f"the exported network cannot be kept in {', nor in '.join(refusals)}. Make room or make one of them writable, "
        "or name another folder by the environment variable XDG_CACHE_HOME"
    )


def remove_outdated(entry: Path) -> None:
    """Removes the exports beside one that are in its precision: of weights that the model had before."""
    precision = entry.name.partition("-")[0]
    for other in entry.parent.glob(f"{precision}-*"):
        if other != entry and (other / MANIFEST).is_file():
            shutil.rmtree(other)


def find(checkpoint: Checkpoint, dtype: torch.dtype, places: Sequence[Path] | None = None) -> Path | None:
    """The folder of a network's export, as `exported`; None where there is none that can be used."""
    network = exportable(checkpoint)
    places = [place for place in places or _places(checkpoint) if place.is_dir()]
    if not places:  # and no need to read all the weights for a name
        return None
    name = _name(network, dtype)
    for place in places:
        if _is_sound(place / name):
            with contextlib.suppress(OSError):  # of somebody else's, who need not know when it was used
                os.utime(place / name)
            return place / name
    return None


def expect_weights_of(network: QueryVit, folder: Path) -> None:
    """Raises `BackendError` unless an entry is of a network, which was read from its folder again."""
    if folder.name != _name(network, PRECISIONS[folder.name.partition("-")[0]]):
        raise BackendError(
            "the model's files are no longer those that it was loaded from, and images of another size need them "
            "again: load it anew"
        )


def _places(checkpoint: Checkpoint) -> tuple[Path, Path]:
    return user_cache() / EXPORTS_FOLDER, exports_beside(checkpoint)


def exports_beside(checkpoint: Checkpoint) -> Path:
    """The folder next to a checkpoint that its exports are looked for in."""
    return checkpoint.folder / EXPORTS_FOLDER


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


def _name(network: QueryVit, dtype: torch.dtype) -> str:
    """The name of an entry, from the dtype, the settings and all weights."""
    digest = hashlib.sha256(json.dumps(asdict(network.settings), sort_keys=True).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(memoryview(weight.contiguous().view(torch.uint8).numpy()))
    return f"{str(dtype).removeprefix('torch.')}-{digest.hexdigest()[:24]}"


def _is_sound(entry: Path) -> bool:
    """True if an entry is there, of this version, and whole; logs what is wrong with one that is there."""
    try:
        if not entry.is_dir():
            return False
        manifest = json.loads(read_bytes(entry / MANIFEST, LARGEST_MANIFEST))
        version, files = manifest["version"], manifest["files"]
        if version != EXPORT_VERSION:
            found = reprlib.repr(version)
            log.warning("%s is of export version %s, expected %d: not used", entry, found, EXPORT_VERSION)
            return False
        if not files.keys() >= {MODEL, ANSWERS} or any(Path(name).name != name for name in files):
            raise ValueError(f"{MANIFEST} does not list {MODEL} and {ANSWERS}, or lists files of another folder")
        damaged = sorted(name for name, expected in files.items() if sha256_of([entry / name]) != expected)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): not used", entry, first_line(error))
        return False
    if damaged:
        log.warning("%s is damaged (%s): not used", entry, listed(damaged))
    return not damaged


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
            "files": {path.name: sha256_of([path]) for path in sorted(unfinished.iterdir())},
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


def _bound(cache: Path, newest: Path) -> None:
    """Removes the least recently used entries until the cache has at most `CACHE_BYTES`."""
    with contextlib.suppress(OSError):  # another process that does the same
        entries = [entry for entry in cache.iterdir() if entry.is_dir() and not entry.name.startswith(UNFINISHED)]
        room = CACHE_BYTES
        for entry in sorted(entries, key=lambda entry: (entry == newest, entry.stat().st_mtime), reverse=True):
            room -= sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
            if room < 0 and entry != newest:
                # Out of the way first, because another process must not find half of it.
                gone = entry.rename(cache / f"{UNFINISHED}{entry.name}-{os.getpid()}")
                shutil.rmtree(gone, ignore_errors=True)
                log.info("removed %s, which was not used for the longest time", entry)


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder)
