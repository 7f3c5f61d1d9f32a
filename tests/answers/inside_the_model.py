"""Chapter 12."""

RIGHT = {}
