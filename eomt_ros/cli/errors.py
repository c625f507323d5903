"""What ends a command with one line instead of a traceback."""


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and what to do."""
