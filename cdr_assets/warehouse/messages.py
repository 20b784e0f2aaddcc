"""What DuckDB says only in the words of its errors. It has no codes for these, and its next version may use other
words: a test holds each against the installed DuckDB.
"""


def is_held_by_another(text: str) -> bool:
    """Whether a file could not be opened because another process has it open for writing."""
    return "set lock" in text


def program_that_holds(text: str) -> str:
    """The program that holds the file: ` (/usr/bin/duckdb, PID 4711)`; empty if the message names none."""
    _, _, rest = text.partition("held in ")
    program, found, pid = rest.partition(" (PID ")
    return f" ({program}, PID {pid.partition(')')[0]})" if found else ""


def is_out_of_memory(text: str) -> bool:
    """Whether a statement needed more than memory_limit; dbt hands on the text of the error alone."""
    return "Out of Memory Error" in text
