"""From model scores to events: windows, operating point, post-processing, tuning, detection in recordings."""
