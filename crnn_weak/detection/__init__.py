"""From scores to events: thresholds, post-processing, recordings of any length."""
