"""Choice of thresholds on the validation clips."""
