"""Where the repository lies on github.com, found and never typed, so that a fork needs no edit. As a Sphinx extension: where
that is known, notebook pages have a button that opens them in Colab, and all pages one that leads to the repository.
"""

import os
import re
import subprocess
from pathlib import Path

import yaml
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[2]
GITHUB = "https://github.com"
REMOTE = re.compile(r"(?:\w+://)?(?:[^@/\s]+@)?github\.com(?::\d+/|[:/])([\w.-]+)/([\w.-]+?)(?:\.git)?/?")


def address(root: Path = ROOT) -> str:
    """Such as https://github.com/someone/minigpt-book: from CI's variables, else from the git remotes of the folder, origin
    first; empty where neither leads to github.com.
    """
    if os.environ.get("GITHUB_SERVER_URL") == GITHUB and os.environ.get("GITHUB_REPOSITORY"):
        return f"{GITHUB}/{os.environ['GITHUB_REPOSITORY']}"
    if not (root / ".git").exists():  # the folder may lie inside another repository
        return ""
    try:
        listed = subprocess.run(["git", "remote", "-v"], cwd=root, capture_output=True, text=True).stdout
    except FileNotFoundError:  # no git here
        return ""
    remotes = dict(line.split()[:2] for line in listed.splitlines())
    found = (REMOTE.fullmatch(remotes[name]) for name in sorted(remotes, key=lambda name: name != "origin"))
    return next((f"{GITHUB}/{match[1]}/{match[2]}" for match in found if match), "")


def revision() -> str:
    """The tag that Colab installs, as _config.yml states it."""
    return str(yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"])


def state_address(app: Sphinx, config: Config) -> None:
    """Tell the theme the address; without one it shows no button that needs it."""
    where = address(Path(app.srcdir))
    config.html_theme_options |= {"repository_url": where, "use_repository_button": bool(where)}
    if not where:
        config.html_theme_options["launch_buttons"] = {}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", state_address)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
