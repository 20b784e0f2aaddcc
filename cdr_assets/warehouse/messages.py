"""Recognizes DuckDB errors by their text, because DuckDB has no codes for them.

Another version of DuckDB may use other words, so a test checks each function against the installed one. What is done
about an error is decided by the callers: `place`, and `marts/build.py`.
"""


def is_held_by_another(text: str) -> bool:
    """True if the file could not be opened because another process has it open."""
    return "set lock" in text


def program_that_holds(text: str) -> str:
    """The program that has the file open, like ` (/usr/bin/duckdb, PID 4711)`; empty if the message names none."""
    _, _, rest = text.partition("held in ")
    program, found, pid = rest.partition(" (PID ")
    return f" ({program}, PID {pid.partition(')')[0]})" if found else ""


def is_out_of_memory(text: str) -> bool:
    """True if a statement needed more than memory_limit. dbt passes on only the text of the error."""
    return "Out of Memory Error" in text
