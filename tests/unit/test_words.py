"""Package and pages use the words of the glossary."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: These pages name earlier words.
EXCEPT = ("CHANGELOG.md", "docs/glossary.md")


def test_no_word_to_avoid_is_used():
    lines = (REPOSITORY / "tests" / "words_to_avoid.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if line and not line.startswith("#")]
    assert words
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})s?\b", re.IGNORECASE)
    package = [path for suffix in ("py", "j2", "js") for path in (REPOSITORY / "crnn_weak").rglob(f"*.{suffix}")]
    pages = [
        *REPOSITORY.glob("*.md"),
        *(p for name in ("docs", "benchmarks", "experiments") for p in (REPOSITORY / name).rglob("*.md")),
    ]
    found = [
        f"{path.relative_to(REPOSITORY)}:{number} {line.strip()[:100]}"
        for path in (*package, *pages)
        if path.relative_to(REPOSITORY).as_posix() not in EXCEPT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
