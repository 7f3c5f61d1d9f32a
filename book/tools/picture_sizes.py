"""Sphinx extension: every picture states its width and height, so that the text below does not jump when it arrives."""

import re
from pathlib import Path
from typing import Any

import imagesize
from sphinx.application import Sphinx

PICTURE = re.compile(r'<img (?![^>]*\bwidth=)(?=[^>]*\bsrc="[^"]*\b_images/([^"]+)")')


def state_sizes(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Add to each picture of the page that has no width what its file says."""
    files = {name: Path(app.srcdir, file) for file, name in app.builder.images.items()}

    def sized(found: re.Match[str]) -> str:
        width, height = imagesize.get(files[found[1]])
        return f'<img width="{width:.0f}" height="{height:.0f}" '

    if "body" in context:
        context["body"] = PICTURE.sub(sized, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", state_sizes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
