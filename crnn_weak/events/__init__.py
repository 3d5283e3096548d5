"""From scores to events: the operating point and the decoder."""
