"""Data sets: one module per source, the protocol that they share, splits and checks."""
