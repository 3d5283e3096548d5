"""Experiments, each run with ``python -m crnn_weak.experiments.NAME``. Nothing is imported here."""
