"""Chapter 15."""

RIGHT = {}
