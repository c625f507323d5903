"""Everything `make` needs before it can run: a Python environment with ROS 2, and the package built in it.

Standard library only, since it runs before anything is installed.
"""


class SetupError(Exception):
    """The set-up cannot go on; the message says what is missing and what installs it."""
