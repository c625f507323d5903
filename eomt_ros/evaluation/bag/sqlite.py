"""SQLite files of rosbag2, whole or not, in the order of their times: https://sqlite.org/fileformat2.html."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from eomt_ros.evaluation.bag.contents import LARGEST_MESSAGE, Channel, DamageError, note
from eomt_ros.evaluation.bag.unpacking import unpack_message
from eomt_ros.printable import printable

_TIME = "CAST(timestamp AS INTEGER)"


class SqliteFile:
    """An SQLite file, see `Contents`. faults: gets its damage.

    Raises `DamageError` where it has no messages of rosbag2, `OSError`.
    """

    def __init__(self, path: Path, faults: list[str]) -> None:
        self._path = path
        if unmerged_log(path):
            note(faults, f"{path.name} was not closed by what recorded it")
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.span: tuple[int, int] | None = None
        self._damaged = False
        try:
            try:
                self._look_through(faults)
            except sqlite3.DatabaseError as error:
                note(faults, f"{path.name}: {error}")
                self._damaged = True
                self._look_through(faults)
        except sqlite3.Error as error:
            raise DamageError(f"{path.name}: {error}") from error

    def messages(self, channels: Collection[int], faults: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """See `Contents`. The messages of a damaged file come in the order in which they were written."""
        table, order = ("messages NOT INDEXED", "rowid") if self._damaged else ("messages", "timestamp, rowid")
        # The numbers first: were they sorted with their data, a copy of the bag would go through temporary files.
        numbers = (
            f"SELECT rowid FROM {table} WHERE topic_id IN ({','.join(map(str, channels))}) "
            f"AND length(data) <= {LARGEST_MESSAGE} ORDER BY {order}"
        )
        message = f"SELECT topic_id, {_TIME}, CAST(data AS BLOB) FROM messages WHERE rowid = ?"
        try:
            with closing(self._database()) as database:
                for number in database.execute(numbers):
                    channel, time, data = database.execute(message, number).fetchone()
                    try:
                        yield channel, time, unpack_message(data)
                    except DamageError as error:
                        note(faults, f"{self._path.name} has a damaged message at {time} ns: {error}")
        except sqlite3.Error as error:
            note(faults, f"{self._path.name}: {error}")

    def _database(self) -> sqlite3.Connection:
        # A log that was not merged belongs to the file; without one nothing may want to write.
        options = "mode=ro" if unmerged_log(self._path) else "mode=ro&immutable=1"
        address = f"file:{quote(str(self._path.resolve()))}?{options}"
        database = sqlite3.connect(address, uri=True, check_same_thread=False)
        database.text_factory = lambda text: text.decode(errors="replace")
        for setting in ("trusted_schema=OFF", "cell_size_check=ON"):
            database.execute(f"PRAGMA {setting}")
        if self._damaged:
            # Without this a file that is shorter than its header says is refused as a whole.
            database.execute("PRAGMA writable_schema=ON")
        return database

    def _look_through(self, faults: list[str]) -> None:
        with closing(self._database()) as database:
            _check_tables(database)
            self.channels = dict(_channels(database))
            self.counts.clear()
            # Of a damaged file the data have to be seen to be there.
            size = "CAST(data AS BLOB)" if self._damaged else "length(data)"
            rows = database.execute(
                f"SELECT rowid, topic_id, {_TIME}, {size} FROM messages NOT INDEXED "
                f"WHERE length(data) <= {LARGEST_MESSAGE} ORDER BY rowid"
            )
            try:
                self._count(rows)
            except sqlite3.DatabaseError as error:
                if not self._damaged:
                    raise
                note(faults, f"{self._path.name}: {error}")

    def _count(self, rows: Iterable[tuple[int, int, int, int | bytes]]) -> None:
        before, room = -math.inf, sum(file.stat().st_size for file in (self._path, _log(self._path)) if file.exists())
        for number, channel, time, data in rows:
            room -= len(data) if isinstance(data, bytes) else data
            # Pages that are their own children, or the data of many rows, would go on for ever.
            if number <= before or room < 0:
                raise DamageError(f"{self._path.name} has more messages than bytes, as no recording has")
            before = number
            self.counts[channel] += 1
            first, last = self.span or (time, time)
            self.span = min(first, time), max(last, time)


def unmerged_log(path: Path) -> bool:
    """True if an SQLite file has a write-ahead log beside it that is not merged, as one has that was not closed."""
    log = _log(path)
    return log.exists() and log.stat().st_size > 0


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _check_tables(database: sqlite3.Connection) -> None:
    """Raises `DamageError` where the tables of rosbag2 are missing, or are computed instead of stored."""
    found = {
        name.lower(): (kind, text.split()[:2])
        for name, kind, text in database.execute("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL")
        if kind in ("table", "view")
    }
    for name in ("topics", "messages", *({"message_definitions"} & found.keys())):
        if name not in found:
            raise DamageError(f"it has no table {name}, as a recording of rosbag2 has")
        kind, (_, what) = found[name]
        computed = any(column[-1] > 1 for column in database.execute(f"PRAGMA table_xinfo({name})"))
        if kind != "table" or what.lower() != "table" or computed:
            raise DamageError(f"{name} is computed, expected a table with what was recorded")


def _channels(database: sqlite3.Connection) -> Iterator[tuple[int, Channel]]:
    definitions = {}
    if database.execute("PRAGMA table_info(message_definitions)").fetchall():
        definitions = {
            kind: definition
            for kind, encoding, definition in database.execute(
                "SELECT CAST(topic_type AS TEXT), encoding, CAST(encoded_message_definition AS TEXT) "
                "FROM message_definitions"
            )
            if encoding == "ros2msg"
        }
    for number, name, kind, encoding in database.execute(
        "SELECT CAST(id AS INTEGER), CAST(name AS TEXT), CAST(type AS TEXT), CAST(serialization_format AS TEXT) "
        "FROM topics"
    ):
        name, kind, encoding = (printable(each or "") for each in (name, kind, encoding))
        yield number, Channel(name, kind, encoding, definitions.get(kind) or "")
