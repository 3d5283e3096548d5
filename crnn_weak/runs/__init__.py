"""Run and grid folders: prepare, train and score, results."""
