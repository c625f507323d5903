"""The base of all errors that are for the user."""


class UserError(Exception):
    """A request that cannot be met; the message says in one line what is wrong, and what to do."""
