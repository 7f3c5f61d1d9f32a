"""Chapter 09: reading a loss."""
