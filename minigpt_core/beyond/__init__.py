"""What changes or outgrows the plain GPT. Importing this package enters its kinds of model into the registry."""

from . import composed as composed
from . import fast as fast
