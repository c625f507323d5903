"""What stops a set-up."""


class SetupError(Exception):
    """The set-up cannot go on; the message says what is missing and what installs it."""
