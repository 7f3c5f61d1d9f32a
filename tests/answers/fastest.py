"""Chapter 14."""

RIGHT = {}
