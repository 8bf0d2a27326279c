"""The exception for errors that a user can fix."""


class UserError(ValueError):
    """Invalid input. The message is one sentence: what is wrong, where, and what to do.

    Commands print it as `error: ...` without a traceback and exit with code 2 (`hfseg.cli.run`).
    """
