"""Targets, batches, the fit."""
