"""What changes or outgrows the plain GPT."""

KINDS = (
    "composed",
    "fast",
)  # modules that enter a kind of model; the registry imports them when it meets a strange one
