"""Chapter 12: vectors, places, heads."""
