"""Print the map of the package in CONTRIBUTING.md: one line per module, the first sentence of its docstring.

``python scripts/house_map.py --write`` replaces the map there.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
_START, _END = "<!-- map: python scripts/house_map.py --write -->\n", "<!-- end of the map -->"

__all__ = ["house_map", "modules", "page_map"]


def modules() -> list[str]:
    """Return the package's modules as paths, top level first, without those that hold nothing but names."""
    paths = sorted((ROOT / "crnn_weak").rglob("*.py"), key=lambda path: (path.parent.parts, path.name))
    return [path.relative_to(ROOT).as_posix() for path in paths if path.name != "__init__.py"]


def house_map() -> str:
    """Return the map in Markdown, one list per room."""
    lines, room = [], None
    for name in modules():
        parent = name.rpartition("/")[0]
        if parent != room:
            room = parent
            package = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
            lines += ["", f"**`{room}/`** {_first_sentence(package)}", ""]
        docstring = ast.get_docstring(ast.parse((ROOT / name).read_text(encoding="utf-8"))) or ""
        lines.append(f"- `{name.rpartition('/')[2]}`: {_first_sentence(docstring)}")
    return "\n".join(lines).strip() + "\n"


def _first_sentence(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split()).replace("``", "`")


def page_map() -> str:
    """Return the map as it stands in CONTRIBUTING.md."""
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index(_START) + len(_START) : text.index(_END)].strip() + "\n"


def main() -> None:
    """Print or write the map."""
    if "--write" in sys.argv[1:]:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(text.replace(page_map(), house_map()), encoding="utf-8")
    else:
        print(house_map(), end="")


if __name__ == "__main__":
    main()
