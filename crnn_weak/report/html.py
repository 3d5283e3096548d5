"""HTML templates: one file that opens offline, asks the network for nothing, and runs one script of its own.

The content security policy of a page forbids every address but those within the file, and allows its script by hash.
Every text that a template writes is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crnn_weak import __version__
from crnn_weak.errors import DependencyError

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, styles: Sequence[str], scripts: Sequence[str], files: bool, **context: Any) -> str:
    """Return a page as text.

    Parameters
    ----------
    template : str
        File name in ``templates``.
    styles, scripts : sequence of str
        File names in ``templates``; the page holds their texts.
    files : bool
        Allow sound from files beside the page.
    **context
        Values for the template.

    Raises
    ------
    DependencyError
        Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise DependencyError("the report needs Jinja2: pip install Jinja2.") from None
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # every template: labels and file names come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, code = ("".join((_TEMPLATES / name).read_text("utf-8") for name in names) for names in (styles, scripts))
    # The hash is of the script element's text to the letter.
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    media = "data: file: 'self'" if files else "data:"
    policy = (
        f"default-src 'none'; img-src {media}; media-src {media}; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    text: str = environment.get_template(template).render(
        style=Markup(style),
        script=Markup(code),
        policy=policy,
        version=__version__,
        **context,
    )
    return text
