"""Runs and grids: their folders, what they depend on, training and scoring one, and the table over many."""
