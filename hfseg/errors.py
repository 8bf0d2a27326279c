"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Something the user gave is wrong; the message is one sentence: what, where, and the remedy.

    Scripts print it as `error: ...` and exit with 2, without a traceback
    (see `hfseg.cli.run`).
    """
