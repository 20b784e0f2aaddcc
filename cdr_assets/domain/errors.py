"""The base class of every error that an operator reads.

A package derives its own errors where a caller must tell them apart, for example in `alotech/errors.py`.
"""


class OperatorError(Exception):
    """An error that an operator can fix. One line says what happened, to which hour or call, and what to do now.

    The terminal prints only this text and exits with code 1. A Dagster step fails with it, without a traceback.
    """
