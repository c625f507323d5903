"""Deserializes messages by the types of ROS 2 and our own, and others by the definitions in the bag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from eomt_ros.evaluation.bag.contents import BagError
from eomt_ros.package_data import shipped
from eomt_ros.printable import printable

NEWER = {"identity", "returned", "embedding"}
"""Fields that older versions of our messages do not have."""
LONGEST_DEFINITION = 1 << 16
"""Characters: that of our instances, with all that they are made of, has 4,000."""


def typestore() -> Typestore:
    """The message types of ROS 2 and our own."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for path in sorted(shipped("interfaces", "msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"eomt_ros/msg/{path.stem}"))
    return store


class Types:
    """Deserializes messages.

    definitions: those in a bag, by type; used only for types that are not ROS's own.
    """

    def __init__(self, definitions: Mapping[str, str], *, ros1: bool = False) -> None:
        self._definitions = dict(definitions)
        self._store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
        self._read = self._store.deserialize_ros1 if ros1 else self._store.deserialize_cdr
        self._assumed: set[str] = set()
        """Types of ours that the bag does not define, which are taken for those of this version."""

    def message(self, kind: str, data: bytes) -> Any:
        """Deserializes a message. Raises `BagError` where `data` are none of that type."""
        if kind not in self._store.fielddefs:
            self._learn(kind)
        try:
            return self._read(data, kind)
        # Damaged bytes make rosbags raise almost anything, from its own errors to TypeError.
        except Exception as error:
            older = f", or of an older {kind}; only bags that have its definition, as MCAP, can be read then"
            older = older if kind in self._assumed else ""
            raise BagError(f"a message of {len(data)} bytes is damaged{older}: {one_line(error)}") from error

    def is_older(self, kind: str) -> bool:
        """Say whether the bag's definition of a type lacks fields that this version's messages have."""
        own, definition = typestore().fielddefs, self._definitions.get(kind, "")
        if kind not in own or not definition:
            return False
        try:
            types = self._understood(kind, definition)
        except BagError:
            return False
        return any(set(_fields(own[name])) - set(_fields(types[name])) for name in own.keys() & types.keys())

    def _learn(self, kind: str) -> None:
        own = typestore().fielddefs
        definition = self._definitions.get(kind, "")
        if not definition and kind not in own:
            raise BagError(f"{kind} is not known, and the bag has no definition of it")
        types = self._understood(kind, definition) if definition else own
        for name in own.keys() & types.keys():
            fields, expected = _fields(types[name]), _fields(own[name])
            if any(fields.get(each) != expected[each] for each in expected.keys() - NEWER):
                raise BagError(f"the definition of {name} is not that of any version of eomt_ros")
        if not definition:
            self._assumed.add(kind)
        self._store.register({name: types[name] for name in types.keys() - self._store.fielddefs.keys()})

    def _understood(self, kind: str, definition: str) -> Typesdict:
        """The types that a definition has. Raises `BagError`."""
        if len(definition) > LONGEST_DEFINITION:
            raise BagError(f"the definition of {kind} has {len(definition)} characters, at most {LONGEST_DEFINITION}")
        try:
            return get_types_from_msg(definition, kind)
        except Exception as error:  # as above
            raise BagError(f"the definition of {kind} cannot be understood: {one_line(error)}") from error


def _fields(definition: tuple[Any, Any]) -> dict[str, Any]:
    """The fields of a type, as rosbags describes it."""
    return dict(definition[1])


def one_line(error: BaseException) -> str:
    """The text of an error in one line, or its name where it has none."""
    return printable(str(error)) or type(error).__name__
