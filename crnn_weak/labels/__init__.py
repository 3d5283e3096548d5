"""Class lists, events, tags, and the files that hold them."""
