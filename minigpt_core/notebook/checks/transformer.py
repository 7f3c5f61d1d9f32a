"""Chapter 07: feed-forward, norms, the residual stream, and counting numbers."""
