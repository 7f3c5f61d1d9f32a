"""Chapter 02: windows, batches, splits and counting."""
