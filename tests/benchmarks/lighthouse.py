"""Lighthouse on three pages of the built book, as a compressing server sends them: its scores, and how soon a page is there.

    python tests/benchmarks/lighthouse.py BOOK          the folder of a built book, such as _build/html

Medians of three runs on the slowed-down telephone that Lighthouse simulates. Node and Chromium have to be there; npx
fetches Lighthouse itself.
"""

import functools
import gzip
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
from pathlib import Path

ROUNDS = 3
PAGES = ("book/index.html", "notebooks/02_windows.html", "notebooks/10_sampling.html")
CATEGORIES = ("performance", "accessibility", "best-practices")
METRICS = (
    "first-contentful-paint",
    "largest-contentful-paint",
    "total-blocking-time",
    "cumulative-layout-shift",
    "speed-index",
)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-background-networking"


class Compressing(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for several files

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        kind, body = self.guess_type(path), path.read_bytes()
        self.send_response(200)
        if kind.startswith("text/") or "javascript" in kind or "svg" in kind:
            body = gzip.compress(body, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")  # what GitHub Pages says
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def report(address: str) -> dict:
    """What Lighthouse finds on a page."""
    command = ["npx", "--yes", "lighthouse@13", address, "--output=json", "--quiet", "--no-enable-error-reporting"]
    command += [f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={FLAGS}"]
    environment = os.environ | {"CHROME_PATH": shutil.which("chromium") or ""}
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300).stdout)


def main() -> None:
    handler = functools.partial(Compressing, directory=sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for page in PAGES:
        reports = [report(f"http://127.0.0.1:{server.server_port}/{page}") for _ in range(ROUNDS)]
        print(page)
        for name in CATEGORIES:
            print(f"  {name}: {100 * statistics.median(found['categories'][name]['score'] for found in reports):.0f}")
        for name in METRICS:
            found = statistics.median(found["audits"][name]["numericValue"] for found in reports)
            print(f"  {name}: {found:.3f}" if "shift" in name else f"  {name}: {found:.0f} ms")


if __name__ == "__main__":
    main()
