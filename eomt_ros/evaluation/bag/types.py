"""Deserializes messages by the types of ROS 2 and our own, and others by the definitions in the bag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from eomt_ros.evaluation.bag.contents import BagError
from eomt_ros.package_data import shipped
from eomt_ros.printable import printable

NEWER = {"identity"}
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

    def message(self, kind: str, data: bytes) -> Any:
        """Deserializes a message. Raises `BagError` where `data` are none of that type."""
        if kind not in self._store.fielddefs:
            self._learn(kind)
        try:
            return self._read(data, kind)
        # Damaged bytes make rosbags raise almost anything, from its own errors to TypeError.
        except Exception as error:
            raise BagError(f"a message of {len(data)} bytes is damaged: {one_line(error)}") from error

    def _learn(self, kind: str) -> None:
        own = typestore().fielddefs
        definition = self._definitions.pop(kind, "")
        if not definition and kind not in own:
            raise BagError(f"{kind} is not known, and the bag has no definition of it")
        if len(definition) > LONGEST_DEFINITION:
            raise BagError(f"the definition of {kind} has {len(definition)} characters, at most {LONGEST_DEFINITION}")
        try:
            types = get_types_from_msg(definition, kind) if definition else own
        except Exception as error:  # as above
            raise BagError(f"the definition of {kind} cannot be understood: {one_line(error)}") from error
        for name in own.keys() & types.keys():
            fields, expected = dict(types[name][1]), dict(own[name][1])
            if any(fields.get(each) != expected[each] for each in expected.keys() - NEWER):
                raise BagError(f"the definition of {name} is not that of any version of eomt_ros")
        self._store.register({name: types[name] for name in types.keys() - self._store.fielddefs.keys()})


def one_line(error: BaseException) -> str:
    """The text of an error in one line, or its name where it has none."""
    return printable(str(error)) or type(error).__name__
