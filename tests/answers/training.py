"""Chapter 08."""

RIGHT = {}
