"""Chapter 02."""

RIGHT = {}
