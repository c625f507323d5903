"""Shared by all commands of `eomt-ros`: where they add themselves, and how they end with one line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """The commands of the program; argparse has no public name for it."""


class UserError(Exception):
    """A command cannot do what the user asked for; the message says why and what to do."""
