"""Chapter 09."""

RIGHT = {}
