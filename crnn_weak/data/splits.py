"""Training and test split: given or drawn at random, and the list file that stores them.

The list file has the columns ``clip_id split sha256 status`` (tab, header); the status is ok, missing, short or
unreadable, the checksum may be empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crnn_weak.errors import DataError
from crnn_weak.labels.tables import read_rows, write_rows

__all__ = ["STATUSES", "SplitRow", "read_split_list", "stratified_part", "write_split_list"]

#: What can be the matter with a clip; "short" is readable, and padded.
STATUSES = ("ok", "missing", "short", "unreadable")
_HEADER = ["clip_id", "split", "sha256", "status"]


class SplitRow(NamedTuple):
    """One clip of a list file; the checksum is empty where it was not computed."""

    clip_id: str
    split: str
    sha256: str
    status: str


def write_split_list(path: str | Path, rows: Iterable[SplitRow]) -> None:
    """Write a list file, in the order given."""
    write_rows(path, [_HEADER, *(list(row) for row in rows)])


def read_split_list(path: str | Path) -> list[SplitRow]:
    """Read a list file.

    Raises
    ------
    DataError
        The header or a row is not that of a list file.
    """
    rows = read_rows(path, separator="\t")
    if not rows or rows[0].fields != _HEADER:
        raise DataError(f"{path}: not a list of clips; expected the header {', '.join(_HEADER)}.")
    found = []
    for line, fields in rows[1:]:
        if len(fields) != len(_HEADER) or fields[3] not in STATUSES:
            raise DataError(f"{path}, line {line}: expected {', '.join(_HEADER)}, the status one of {STATUSES}.")
        found.append(SplitRow(*fields))
    return found


def stratified_part(tags: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose a share of the clips at random, stratified by class.

    The classes are served from the rarest to the commonest: of each, as many of its undecided clips are chosen as
    its share still lacks. A class of two or more clips is in both parts, where its clips' other tags allow it.

    Parameters
    ----------
    tags : np.ndarray of bool, shape (n_clips, n_classes)
    fraction : float in (0, 1)
    seed : int

    Returns
    -------
    np.ndarray of bool, shape (n_clips,)
        Which clips are chosen.

    Examples
    --------
    >>> stratified_part(np.repeat(np.eye(2, dtype=bool), 10, axis=0), 0.2, seed=0).reshape(2, 10).sum(axis=1).tolist()
    [2, 2]
    """
    rng = np.random.default_rng([seed, 0x5B1])
    n_clips, n_classes = tags.shape
    # The clips without tags are a class of their own.
    members = np.concatenate([tags, ~tags.any(axis=1, keepdims=True)], axis=1)
    chosen = np.zeros(n_clips, dtype=bool)
    decided = np.zeros(n_clips, dtype=bool)
    for column in np.argsort(members.sum(axis=0), kind="stable"):
        rows = np.flatnonzero(members[:, column])
        wanted = round(fraction * len(rows))
        if len(rows) > 1 and column < n_classes:
            wanted = min(max(wanted, 1), len(rows) - 1)
        free = rng.permutation(rows[~decided[rows]])
        n_lacking = wanted - int(chosen[rows].sum())
        chosen[free[: max(n_lacking, 0)]] = True
        decided[rows] = True
    return chosen
