"""What was recorded, and what was said about it: labels, events, audio, data sets."""
