"""Targets: the clip's tags, and the same tags repeated for every frame."""

from __future__ import annotations

import numpy as np

__all__ = ["targets"]


def targets(tags: np.ndarray, n_frames: int) -> dict[str, np.ndarray]:
    """Return the targets of both outputs, by name.

    The strong target is the weak one, repeated for every frame (the talk: nothing else is known of the clips). It is
    made for a batch at a time and never stored: at 500 frames it is 500 times the tags.

    Parameters
    ----------
    tags : np.ndarray of bool, shape (n_clips, n_classes)
    n_frames : int

    Returns
    -------
    dict
        ``strong``: float32, shape (n_clips, n_frames, n_classes); ``weak``: float32, shape (n_clips, n_classes).

    Examples
    --------
    >>> targets(np.array([[True, False]]), 3)["strong"].tolist()
    [[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]
    """
    weak = np.asarray(tags, dtype=np.float32)
    strong = np.repeat(weak[:, None, :], n_frames, axis=1)
    return {"strong": strong, "weak": weak}
