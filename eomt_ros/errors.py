"""The base of all errors that are for the user."""


class UserError(Exception):
    """What the user asked for cannot be done; the message says in one line what is wrong, and what to do."""
