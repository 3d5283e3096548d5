"""Synthetic street sounds (`layout`, `tonal`, `vehicles`, `backgrounds`, `scene`) and scenes mixed of recordings.

Quantities are in hertz, seconds and decibels, never in samples: a clip is the same scene at 16 kHz and at 44.1 kHz.
"""
