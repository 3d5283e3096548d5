"""Tables, figures, pages."""
