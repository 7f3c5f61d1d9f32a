"""Chapter 00: First light: the whole program on one page."""
