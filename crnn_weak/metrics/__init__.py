"""Scores of event lists and tags: pure NumPy on arrays, checked against sed_eval."""
