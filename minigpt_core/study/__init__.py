"""What looks at a model: into it, at what it lacks without a part, at its losses beside counting, and at a run before it begins."""
