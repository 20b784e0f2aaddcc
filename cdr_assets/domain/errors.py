"""The base of every error that an operator is told. A room derives its own where somebody must tell them apart."""


class OperatorError(Exception):
    """An operator can mend this. The text is one line: what happened, to which hour or call, and what to do now.

    The terminal prints the text alone and ends with exit code 1; a Dagster step fails with it, without a traceback.
    """
