"""Chapter 10: every knob, beams, stop strings, the cache."""
