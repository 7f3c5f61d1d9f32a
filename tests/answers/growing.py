"""Chapter 16."""

RIGHT = {}
