"""The arguments that choose a model and how it runs, of every command that loads one."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from eomt_ros.errors import UserError
from eomt_ros.model_options import GONE, ModelOptions, Rule, rules_of

if TYPE_CHECKING:
    from eomt_ros.engine import Segmenter


def add_model_arguments(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Adds the options of `ModelOptions` but those in `without`; `load_model` then takes them."""
    rules = rules_of(ModelOptions)
    for field in dataclasses.fields(ModelOptions):
        if field.name in without:
            continue
        parser.add_argument(_flag(field.name), default=field.default, **_keywords(rules[field.name], field.default))
    for name in GONE:
        parser.add_argument(_flag(name), action=_Gone, nargs=0, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _keywords(rule: Rule, default: Any) -> dict[str, Any]:
    """The arguments of argparse's `add_argument` for an option."""
    said = rule.text if default in ("", -1.0, ("",)) else f"{rule.text} (default: {default})"
    found: dict[str, Any] = {"help": said.replace("%", "%%")}
    if isinstance(default, bool):
        return {**found, "action": argparse.BooleanOptionalAction}
    if isinstance(default, tuple):
        return {**found, "type": _listed, "metavar": "NAME,NAME"}
    return {**found, "type": type(default)}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


class _Gone(argparse.Action):
    """Refuses an option of former versions."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(f"{self.option_strings[0]} is gone: {GONE[self.dest]}")


def asked_model(options: argparse.Namespace, **instead: Any) -> ModelOptions:
    """The options of the model. instead: values that go before those of the command line.

    Raises `UserError` for a value that is not one.
    """
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(ModelOptions)}
    try:
        return ModelOptions(**{**asked, **instead})
    except ValueError as error:
        raise UserError(str(error)) from error


def load_model(options: argparse.Namespace, **instead: Any) -> Segmenter:
    """The model that the options ask for; instead: as in `asked_model`. Raises `UserError`, `EngineError`."""
    from eomt_ros.engine import Segmenter

    try:
        return Segmenter.load(asked_model(options, **instead))
    except ValueError as error:
        raise UserError(str(error)) from error
