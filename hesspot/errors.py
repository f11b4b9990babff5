"""The error that is shown to the user as one sentence."""


class UserError(Exception):
    """Bad input. The message is one sentence: the value, the place, the remedy.

    Command-line programs print it without a traceback and exit with status 1.
    """
