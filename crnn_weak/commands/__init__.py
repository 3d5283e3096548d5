"""The commands of ``crnn-weak``: ``add_arguments`` adds the options of each, ``run`` returns its exit code."""
