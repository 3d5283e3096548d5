"""All figures. ``plot_*`` draws on the axes that it is given; ``*_figure`` returns a figure for `save_figure`."""
