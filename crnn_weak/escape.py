"""Names and texts from outside, made harmless for the place they are written to.

Labels, file names and captions may hold anything. Line feeds would forge rows, control characters would reach the
terminal, and ``<script>`` would run in a page. HTML templates escape by themselves; the other places call this module.
"""

from __future__ import annotations

__all__ = ["latex", "markdown", "visible"]

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: "\\" + sign for sign in "\\`*_[]|#$~!"}})
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{sign: "\\" + sign for sign in "&%$#_{}"},
    }
)


def visible(text: str) -> str:
    """Return the text in one line, with control and format characters as Python escapes.

    Printable characters, the space among them, stay as they are.

    Examples
    --------
    >>> visible("dog\\x1b[31m\\ncat")
    'dog\\\\x1b[31m\\\\ncat'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def markdown(text: str) -> str:
    """Return the text for a line or a table cell of Markdown, without any markup of its own.

    Examples
    --------
    >>> markdown("<b>a|b</b>")
    '&lt;b&gt;a\\\\|b&lt;/b&gt;'
    """
    return visible(text).translate(_MARKDOWN)


def latex(text: str) -> str:
    """Return the text for LaTeX, without any command of its own.

    Examples
    --------
    >>> latex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return visible(text).translate(_LATEX)
