"""Chapter 13: a text of one's own."""
