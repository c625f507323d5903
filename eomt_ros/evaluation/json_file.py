"""Dataclasses in JSON files and back, by type hints: numbers, texts, tuples, mappings, arrays, dataclasses, None."""

from __future__ import annotations

import functools
import json
import math
import os
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from eomt_ros.evaluation.counting import counted

Data = TypeVar("Data")


class JsonFileError(Exception):
    """A file with wrong content; the message says where and what was expected."""


def write_json(content: Any, path: Path) -> None:
    """Writes a dataclass; NaN and infinity become null. The file is there whole or not at all. Raises `OSError`.

    One dataclass in it after the other is made plain and written, so that this takes no memory of the file's size.
    """
    encoder = json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False, default=_entries)
    with written_whole(path) as file:
        file.writelines(encoder.iterencode(plain(content, deep=False)))
        file.write("\n")


def write_whole(text: str, path: Path) -> None:
    """Writes a text file, which is there whole or not at all. Raises `OSError`."""
    with written_whole(path) as file:
        file.write(text)


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` once the block ends without an error. Raises `OSError`."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        new.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """Files that processes left which were ended while they wrote `path`."""
    return [each for each in path.parent.glob(f".{path.name}.*") if each.suffix[1:].isdecimal()]


def parse_json(text: str) -> dict[str, Any]:
    """The object in a JSON text. Raises `JsonFileError`."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise JsonFileError(f"it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise JsonFileError(f"it holds a {type(content).__name__}, expected an object")
    return content


def from_json(kind: type[Data], content: Any, where: str = "") -> Data:
    """Makes a dataclass `kind` of an object in JSON; null is NaN where a number must be. Raises `JsonFileError`."""
    if not isinstance(content, Mapping):
        raise JsonFileError(f"{where or 'it'} is {_shown(content)}, expected an object")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass, though its type cannot say so
        name = f"{where}.{field.name}".lstrip(".")
        if field.name in content:
            values[field.name] = _value(hints[field.name], content[field.name], name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise JsonFileError(f"{name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise JsonFileError(f"{where or 'it'} is not valid: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The type of each field; resolving them takes longer than all the rest, and files have many of a kind."""
    return typing.get_type_hints(kind)


def plain(value: Any, *, deep: bool = True) -> Any:
    """A value as JSON has it: objects, lists, texts, numbers, None. deep: False leaves dataclasses as they are."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)} if deep else value
    if isinstance(value, Mapping):
        return {str(name): plain(each, deep=deep) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, deep=deep) for each in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _entries(data: Any) -> dict[str, Any]:
    """The fields of a dataclass, plain but for the dataclasses in them."""
    return {field.name: plain(getattr(data, field.name), deep=False) for field in fields(data)}


def _value(hint: Any, value: Any, where: str) -> Any:
    if type(value) is hint:  # most of a large file
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        (hint,) = (each for each in arguments if each is not type(None))
        return None if value is None else _value(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise JsonFileError(f"{where} is {_shown(value)}, expected a list")
        hints = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(hints) != len(value):
            raise JsonFileError(f"{where} has {counted(len(value), 'entry', 'entries')}, expected {len(hints)}")
        pairs = enumerate(zip(hints, value, strict=True))
        return tuple(_value(each, entry, f"{where}[{number}]") for number, (each, entry) in pairs)
    if origin is np.ndarray:
        return _array(typing.get_args(arguments[1])[0], value, where)
    if origin is not None:  # a mapping
        if not isinstance(value, dict):
            raise JsonFileError(f"{where} is {_shown(value)}, expected an object")
        kind, *others = arguments
        hint = others[0] if others else int  # a Counter's
        found = {_key(kind, name, where): _value(hint, each, f"{where}.{name}") for name, each in value.items()}
        return Counter(found) if origin is Counter else found
    if is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value, where)
    return _scalar(hint, value, where)


def _key(kind: type, name: str, where: str) -> Any:
    try:
        return kind(name)
    except ValueError as error:
        raise JsonFileError(f"{where} has the name {_shown(name)}, expected a number") from error


def _array(dtype: type, value: Any, where: str) -> np.ndarray[Any, Any]:
    """Of whole numbers: `np.int64`, or `np.object_` for those of any size."""
    try:
        array = np.array(value, object)
        if all(type(each) is int for each in array.flat):
            return array.astype(dtype)
    except (ValueError, OverflowError):  # rows of different length; numbers that are too large
        pass
    raise JsonFileError(f"{where} is {_shown(value)}, expected lists of whole numbers")


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise JsonFileError(f"{where} is {_shown(value)}, expected {'a number' if hint is float else hint.__name__}")


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
