"""Hooks of ``mkdocs.yml``: pages that are made of other files of the repository.

In addition to ``docs/`` the site has one page for each room of the package with the docstrings of its modules, the
notebooks with their outputs, and the pages outside ``docs/`` that it links to. Links keep the form that works in the
repository.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
#: Files outside docs/ that belong to the site, under the same paths.
_OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "experiments/**/*.md",
    "experiments/**/*.png",
)
_LINKED = ("CITATION.cff", "LICENSE", "experiments/*.toml", "experiments/results/*/*.csv")


class DoctestsAsExamples(griffe.Extension):
    """Read a doctest that stands in a docstring without the heading "Examples" as one."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Add the heading."""
        if obj.docstring and ">>>" in obj.docstring.value and "Examples\n" not in obj.docstring.value:
            obj.docstring.value = obj.docstring.value.replace(">>>", "Examples\n--------\n>>>", 1)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages and the files outside docs/."""
    for pattern in (*_OUTSIDE, *_LINKED):
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        for name, content in notebook_files(path).items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    for name, content in api_pages().items():
        files.append(File.generated(config, f"api/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links that leave or enter docs/, or lead to notebooks, into links inside the site."""
    source = page.file.src_uri
    if source.startswith("tutorials/"):
        markdown = markdown.replace("](../../", "](../")
    markdown = re.sub(r"(\]\([\w./-]+)\.ipynb\)", r"\1.md)", markdown)
    if (ROOT / source).exists() and not (ROOT / "docs" / source).exists():
        up = "../" * source.count("/")
        return re.sub(r"\]\((?:\.\./)*docs/", f"]({up}", markdown)
    return markdown.replace("](../", "](") if source.count("/") == 0 else markdown


def notebook_files(path: Path) -> dict[str, str | bytes]:
    """Return a notebook as a page of Markdown with the stored outputs, and the pictures that it shows."""
    parts, pictures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            text = f"```python\n{text}\n```"
            if "fold" in cell["metadata"].get("tags", ()):
                text = textwrap.indent(f'??? note "Code"\n\n{text}', "    ")[4:]
        parts.append(text)
        for output in cell.get("outputs", ()):
            shown = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in shown:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(shown["image/png"])
                parts.append(f"![Output of the code above]({name})")
            elif text := "".join(shown["text/plain"]).rstrip():
                parts.append(f"```text\n{text}\n```")
    parts.append(f"As a notebook: `docs/tutorials/{path.name}`.\n")
    return {f"{path.stem}.md": "\n\n".join(parts), **pictures}


def api_pages() -> dict[str, str]:
    """Return one page per room of the package, and an index of all modules."""
    rooms: dict[str, list[str]] = {}
    for path in sorted((ROOT / "crnn_weak").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] in ("__init__", "__main__"):
            continue
        room = parts[1] if len(parts) > 2 else "top"
        rooms.setdefault(room, []).append(".".join(parts))
    index = ["# Modules", "", "| room | modules |", "|---|---|"]
    pages = {}
    for room, modules in rooms.items():
        title = "crnn_weak" if room == "top" else f"crnn_weak.{room}"
        pages[room] = f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"
        names = ", ".join(f"`{module.removeprefix(title + '.')}`" for module in modules)
        index.append(f"| [{title}]({room}.md) | {names} |")
    pages["index"] = "\n".join(index) + "\n"
    return pages
