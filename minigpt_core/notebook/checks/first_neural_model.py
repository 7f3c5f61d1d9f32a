"""Chapter 05: embeddings, a first network, and how to begin."""
