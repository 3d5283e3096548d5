"""Synthetic street sounds: seventeen classes, backgrounds, and the scenes mixed from them.

The way of a clip: `layout` draws its tags and events after the task's real statistics (`statistics`), the class
modules (`sirens`, `horns`, `vehicles`, `wheels`, `voices`) and `backgrounds` make the sounds out of
`primitives`, and `scene` mixes them. Every quantity is in hertz, seconds and decibels, never in samples, so that a
clip is the same scene at 16 kHz and at 44.1 kHz.
"""
