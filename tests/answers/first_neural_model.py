"""Chapter 05."""

RIGHT = {}
