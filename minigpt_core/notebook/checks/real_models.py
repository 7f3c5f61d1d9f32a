"""Chapter 15: the parts of today's models."""
