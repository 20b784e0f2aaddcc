"""Printing: any text is shown unchanged, in tables too, and control codes become escapes."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_assets.cli.console import complain, print_table, readable, say, take_over


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # Rich interprets the first three. Terminals act on the others: colours, overwriting a line, reversing text.
        ("[/x]", "[/x]"),
        ("[vip] [bold]x[/bold]", "[vip] [bold]x[/bold]"),
        ("root:x:0 :x:", "root:x:0 :x:"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08", r"a\rb\x08"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("half \udcff", r"half \udcff"),
    ],
)
def test_a_text_is_shown_as_it_is_and_what_a_terminal_obeys_as_an_escape(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say(text)
    complain(text)
    print_table([text], [(text,)], title=text)
    told, wrong = capsys.readouterr()
    assert (told.count(shown), wrong) == (4, f"{shown}\n")


def test_a_cell_keeps_its_lines_and_tabs_and_a_pipe_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a\nb"], [("one\n\ttwo",), ("x" * 5000,)])
    lines = [line.strip("│┃ ") for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line[:1].isalnum()] == ["a", "b", "one", "two", "x" * 5000]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=4))
def test_any_text_can_be_printed(texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    print_table(texts, [tuple(texts)], "".join(texts))
    say("".join(texts))
    told = capsys.readouterr().out
    assert not [c for c in told if c != "\n" and readable(c) != c]
    assert told.endswith(f"{readable(''.join(texts))}\n")


def test_a_logged_line_is_printed_as_any_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "lastResort", None)
    take_over()
    # In our own processes no other handler takes the log messages either.
    monkeypatch.setattr(logging.getLogger("cdr_assets"), "propagate", False)
    logging.getLogger("cdr_assets.any").warning('AloTech says "%s"; trying again', "[/x] \x1b[31m")
    assert capsys.readouterr().err == 'AloTech says "[/x] \\x1b[31m"; trying again\n'
