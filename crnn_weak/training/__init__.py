"""Train a network: validation split, targets, batches, the fit."""
