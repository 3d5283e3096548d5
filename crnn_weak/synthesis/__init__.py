"""Synthetic street sounds, and scenes mixed of recordings."""
