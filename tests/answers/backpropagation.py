"""Chapter 04."""

RIGHT = {}
