"""Recordings on other machines, through fsspec: `s3://`, `gs://`, `https://` and whatever else it knows.

A single MCAP file and a video are read in place, a block at a time, so that topics which nobody asks for stay where
they are. All else is copied into a cache first, whose folder and size each machine may set by environment variables.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from eomt_ros.engine.backends.export_cache import user_cache
from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag.storage import METADATA
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.fleet.fingerprint import blocks_of, hash_of_file, hash_of_files
from eomt_ros.evaluation.fleet.recording_cache import RecordingCache
from eomt_ros.extras import EXTRAS, missing
from eomt_ros.printable import printable
from eomt_ros.remote_path import RemotePath

CACHE_FOLDER, CACHE_GB = "EOMT_ROS_RECORDINGS_CACHE", "EOMT_ROS_RECORDINGS_CACHE_GB"
"""Environment variables: the folder of the cache, and how large it may become."""
STANDARD_GB = 50.0
BAG_IN_PLACE = ".mcap"
IN_PLACE = (BAG_IN_PLACE, ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Endings of files that are read where they are."""
BLOCK, BLOCKS = 1 << 22, 8
"""Bytes that are asked for at once, and how many such blocks are kept of an open file."""
TRIES = 3
"""Times that a block is asked for."""
CONNECT_S, SILENCE_S = 20.0, 60.0
"""s that a web server may take to answer, and to go on."""
MOST_FILES = 100_000
"""Files of one recording."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_VERSIONS = ("ETag", "etag", "Last-Modified", "LastModified", "mtime", "md5Hash", "updated")
"""What the file systems call that which changes with a file's content."""


def is_url(text: Path | str) -> bool:
    """True for `s3://...`, `https://...` and the like."""
    return isinstance(text, str) and _URL.match(text) is not None


def without_secrets(url: str) -> str:
    """A URL without a user's name, a password and a signature, to be shown and kept. Raises `UserError`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url!r} is no URL: {error}") from error
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def is_url_pattern(url: str) -> bool:
    """True for a URL that may stand for several recordings."""
    # A question mark begins a query.
    return "?" not in url and any(each in url for each in "*[")


def urls_of(url: str) -> list[str]:
    """The recordings that a URL stands for: itself, or where it is a pattern (`s3://bucket/night/*.mcap`) all that fit.

    Raises `UserError` where nothing fits, and where the protocol or its package is not there.
    """
    system, path = _file_system(url)
    if not is_url_pattern(url):
        return [url]
    try:
        found = sorted(system.unstrip_protocol(each) for each in system.glob(path))
    # What a file system raises has no common type; each has a sentence of its own.
    except Exception as error:
        raise UserError(f"{without_secrets(url)} cannot be looked up: {_reason(error)}") from error
    if not found:
        raise UserError(f"nothing fits the pattern {without_secrets(url)}")
    return found


def remote_fingerprint(url: str) -> str:
    """The fingerprint of a recording, the same as on a disk; empty where it cannot be read.

    Where a web server gives no parts of a file, it is made of what the server says of it, if that changes with it.
    """
    try:
        recording = _Recording.found(url)
        return hash_of_files([(file.name, file.size, file.fingerprint) for file in recording.files])
    except (UserError, OSError):
        return ""


@contextmanager
def at_hand(place: Path | str) -> Iterator[Path]:
    """A recording as a path that may be read until the `with` block ends: a path itself, or what a URL stands for.

    Raises `SourceError` where it cannot be reached or kept.
    """
    if isinstance(place, Path):
        yield place
        return
    recording = _Recording.found(place)
    single = recording.single_file()
    if single is not None and single.gives_parts():
        yield RemotePath.of(recording.shown, f"{recording.stem}{single.suffix}", single.size, single.opened)
        return
    key = hashlib.sha256(
        repr((recording.shown, [(each.name, each.size, each.version) for each in recording.files])).encode()
    )
    try:
        with _cache().entry(key.hexdigest()[:32], recording.size, recording.copy_to) as folder:
            yield folder / recording.name
    except SourceError as error:
        raise SourceError(f"{recording.shown}: {error}") from error


@dataclass(frozen=True)
class _File:
    """A file of a recording."""

    system: Any
    """Of fsspec."""
    path: str
    """There."""
    name: str
    """In the recording's folder; empty where it is the recording."""
    size: int
    version: str
    """Another one where the file has changed; empty where nobody says."""

    @property
    def suffix(self) -> str:
        return PurePosixPath(urlsplit(self.path).path).suffix.lower()

    def gives_parts(self) -> bool:
        """True where parts of it can be asked for; not every web server gives them. Raises `SourceError`."""
        if not self.size:
            return False
        try:
            with self.system.open(self.path, "rb", block_size=BLOCK, cache_type="none", size=self.size) as file:
                file.seek(self.size - 1)
                return len(file.read(1)) == 1
        except ValueError:
            return False
        except Exception as error:  # as above
            raise SourceError(f"{without_secrets(self.path)} cannot be read: {_reason(error)}") from error

    def opened(self) -> IO[bytes]:
        """Opens it to be read in parts."""
        return io.BufferedReader(_Parts(self))

    def fingerprint(self) -> str:
        """As `hash_of_file`. Raises `SourceError`."""
        blocks = blocks_of(self.size)
        if len(blocks) > 1 and not self.gives_parts():
            if not self.version:
                raise SourceError("its content cannot be told from another")
            return hashlib.sha256(repr((self.path, self.size, self.version)).encode()).hexdigest()
        try:
            if len(blocks) == 1:
                return hash_of_file(self.size, [self.system.cat_file(self.path)])
            starts, ends = zip(*((at, at + length) for at, length in blocks), strict=True)
            parts = self.system.cat_ranges([self.path] * len(blocks), list(starts), list(ends), on_error="raise")
            return hash_of_file(self.size, parts)
        except Exception as error:  # as above
            raise SourceError(f"{without_secrets(self.path)} cannot be read: {_reason(error)}") from error

    def copy_to(self, target: Path) -> None:
        """Copies it. Raises `SourceError` where it comes not whole, `OSError` where it cannot be written."""
        copied = 0
        with target.open("xb") as file:
            try:
                source = self.opened() if self.gives_parts() else self.system.open(self.path, "rb", block_size=0)
                with source:
                    while copied <= self.size and (block := source.read(BLOCK)):
                        copied += len(block)
                        file.write(block)
            except SourceError:
                raise
            except Exception as error:  # as above
                reason = _reason(error)
                raise SourceError(
                    f"{without_secrets(self.path)} came no further than byte {copied:,}: {reason}"
                ) from error
        if copied != self.size:
            shown = without_secrets(self.path)
            raise SourceError(f"{shown} has {self.size:,} bytes, and another number came: it changed meanwhile")


class _Parts(io.RawIOBase):
    """A file that is read a block at a time, and again where the connection breaks."""

    def __init__(self, file: _File) -> None:
        self._file, self._at = file, 0
        self._opened: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Raises `ConnectionError`."""
        wanted = min(len(buffer), self._file.size - self._at)
        if wanted <= 0:
            return 0
        for attempt in range(1, TRIES + 1):
            try:
                data = self._read(wanted)
                break
            except Exception as error:  # as above
                self._let_go()
                if attempt == TRIES:
                    raise ConnectionError(f"byte {self._at:,} did not come: {_reason(error)}") from error
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._let_go()
        super().close()

    def _read(self, count: int) -> bytes:
        if self._opened is None:
            options = {"cache_type": "background", "cache_options": {"maxblocks": BLOCKS}, "size": self._file.size}
            self._opened = self._file.system.open(self._file.path, "rb", block_size=BLOCK, **options)
        self._opened.seek(self._at)
        data: bytes = self._opened.read(count)
        if not data:
            raise EOFError("it has become shorter")
        return data

    def _let_go(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            with suppress(Exception):  # as above; it is only read
                opened.close()


@dataclass(frozen=True)
class _Recording:
    """The files of a recording."""

    shown: str
    name: str
    files: tuple[_File, ...]
    is_file: bool

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @staticmethod
    def found(url: str) -> _Recording:
        """Looks up what a URL stands for. Raises `SourceError`; `UserError` for a protocol that is not there."""
        shown = without_secrets(url).rstrip("/")
        system, path = _file_system(url)
        try:
            info = system.info(path)
            # A web server that is asked for a folder sends a page about it, from an address that ends as one.
            is_file = info["type"] != "directory" and not urlsplit(info.get("url", url)).path.endswith("/")
            found = {path: info} if is_file else system.find(path, detail=True)
            if len(found) > MOST_FILES:
                raise SourceError(f"{shown} has {len(found):,} files, expected at most {MOST_FILES:,} in one recording")
            files = [
                _file(system, each, "" if is_file else each[len(path.rstrip("/")) + 1 :], of_file)
                for each, of_file in found.items()
            ]
        except SourceError:
            raise
        except Exception as error:  # as above
            raise SourceError(f"{shown} cannot be read: {_reason(error)}") from error
        if not files:
            raise SourceError(f"{shown} cannot be read: there is no such file, and no folder with files in it")
        name = _safe(PurePosixPath(urlsplit(url).path).name, shown)
        return _Recording(shown, name, tuple(sorted(files, key=lambda file: file.name)), is_file)

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem if self.is_file else self.name

    def single_file(self) -> _File | None:
        """The file that is all there is to read, and can be read where it is; None where that is not so."""
        if self.is_file:
            return self.files[0] if self.files[0].suffix in IN_PLACE else None
        # The folder of a rosbag2 that was not split.
        files = [file for file in self.files if file.name != METADATA]
        return files[0] if len(files) == 1 and files[0].suffix == BAG_IN_PLACE and len(self.files) == 2 else None

    def copy_to(self, folder: Path) -> None:
        """Copies all files, as a file or a folder of the recording's name. Raises `SourceError`, `OSError`."""
        for file in self.files:
            target = folder / self.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.copy_to(target)


def _file(system: Any, path: str, name: str, info: dict[str, Any]) -> _File:
    name = _safe(name, path) if name else ""
    if info.get("size") is None:
        info = {**info, **system.info(path)}
    if info.get("size") is None:
        raise SourceError(f"{without_secrets(path)} cannot be read: the server does not say how large it is")
    version = next((str(info[each]) for each in _VERSIONS if info.get(each)), "")
    return _File(system, path, name, int(info["size"]), version)


def _safe(name: str, where: str) -> str:
    """The name of a file within a folder. Raises `SourceError` where it leads out of it."""
    name = unquote(name)
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or not name.isprintable():
        raise SourceError(f"{without_secrets(where)} has a file {name!r}, which no file here can be called")
    return name


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there. Raises `UserError` where fsspec or a part of it is not there."""
    protocol, shown = url.partition("://")[0].lower(), without_secrets(url)
    try:
        import fsspec  # type: ignore[import-untyped]

        if protocol not in fsspec.available_protocols():
            raise UserError(f"{shown}: nobody knows {protocol}://, expected s3://, gs://, http:// or https://")
        options = {}
        if protocol in ("http", "https"):
            from aiohttp import ClientTimeout

            # As long as bytes come: a recording may take hours.
            timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            options = {"client_kwargs": {"timeout": timeout}}
        system, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        lacking = error if error.name else error.__cause__
        if isinstance(lacking, ImportError) and lacking.name in EXTRAS["remote"]:
            raise UserError(f"{shown}: {missing(lacking, 'remote')}") from error
        raise UserError(f"{shown}: {printable(str(error))}") from error
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"{shown} is no URL that can be read: {_reason(error)}") from error
    return system, path


def _cache() -> RecordingCache:
    """The cache of this machine. Raises `UserError` for a size that is none."""
    text = os.environ.get(CACHE_GB, "")
    try:
        size = float(text) if text else STANDARD_GB
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise UserError(f"the environment variable {CACHE_GB} is {text!r}, expected a number above 0")
    folder = Path(os.environ.get(CACHE_FOLDER) or user_cache() / "recordings")
    return RecordingCache(folder.expanduser(), int(size * 1e9))


def _reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    # fsspec's web client calls everything a missing file, and says why with it.
    reason = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    status = getattr(reason, "status", None)
    if status == 404 or isinstance(reason, FileNotFoundError):
        return "there is no such file"
    if isinstance(status, int):
        return printable(f"the server answers {status} {getattr(reason, 'message', '')}")
    if isinstance(reason, OSError) and reason.errno == errno.ENOSPC:
        return "the disk is full"
    return printable(str(reason)) or (
        "nothing came in time" if isinstance(reason, TimeoutError) else type(reason).__name__
    )
