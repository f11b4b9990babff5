"""The error that is shown to the user as one sentence."""


class UserError(Exception):
    """Bad input. The message is one sentence: the value, the place, the remedy.

    Command-line programs print it without a traceback and exit with status 1.
    """


def in_words(error: UserError | OSError) -> str:
    """The sentence of a UserError, or of a file that could not be opened, read or written."""
    if isinstance(error, UserError) or error.filename is None:
        return str(error)
    reason = (error.strerror or type(error).__name__).lower()
    return f"{error.filename}: {reason}; check the path and its permissions"
