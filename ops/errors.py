"""What stops a command, said to the person who gave it."""


class OperationError(Exception):
    """Something an operator can put right; the message ends with how."""

    exit_code = 2
