"""Chapter 07."""

RIGHT = {}
