"""Chapter 11: loops, and what breaks them."""
