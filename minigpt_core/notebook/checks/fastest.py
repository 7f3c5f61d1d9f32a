"""Chapter 14: what makes it learn faster."""
