"""Chapter 01: characters, pieces, bytes."""
