"""Chapter 13."""

RIGHT = {}
