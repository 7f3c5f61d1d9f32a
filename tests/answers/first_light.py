"""Chapter 00."""

RIGHT = {}
