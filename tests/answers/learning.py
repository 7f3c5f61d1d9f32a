"""Chapter 03."""

RIGHT = {}
