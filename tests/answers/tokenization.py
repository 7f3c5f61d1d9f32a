"""Chapter 01."""

RIGHT = {}
