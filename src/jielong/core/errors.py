"""Errors that a user can act on: one line that says what is wrong, where, and what to do."""


class JielongError(Exception):
    """Something the user can fix. The command line prints its text as one line, without a traceback."""

    exit_status = 1
    shared = False
    """Whether every process of a run that several share raises it, so that one message is enough."""


class UsageError(JielongError):
    """The command itself was wrong: an unknown setting, a missing argument, a contradiction."""

    exit_status = 2
