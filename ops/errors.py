"""Errors that end a verb, in words for the person who gave it."""


class OperationError(Exception):
    """Something an operator can put right; the message ends with how."""

    exit_code = 2
