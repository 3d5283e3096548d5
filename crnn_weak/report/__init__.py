"""HTML pages of a run or a grid, and the model card."""
