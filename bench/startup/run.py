"""Times how soon the package is ready on a second visit, beside an empty Wasm page of the same size in the same run.

One browser visits two pages of the real server in turn, all of whose files it has from earlier visits:

- the empty page starts one Worker, which fetches, compiles and instantiates the SIMD engine's module as the package does, and
  nothing else: no model, no session module, no second Worker;
- the other one creates an assistant with the model for the device, and is ready when it can take a question.

Times are from the beginning of the navigation; medians, without the first visits, which fill the caches: on those questions are
asked, and they last some seconds.

    cargo xtask engines && cargo build --package msao-server
    python bench/startup/run.py
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300
# Of each page. Browsers keep compiled modules from the second or third visit on.
FIRST = 4
pause = threading.Event().wait


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def fetched(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read()
    except (urllib.error.URLError, OSError):
        return None


def visits(profile, process):
    """What the last page's address says."""
    port_file = profile / "DevToolsActivePort"
    for _ in range(SECONDS * 2):
        pause(0.5)
        if process.poll() is not None:
            sys.exit("Chromium ended")
        if not port_file.exists():
            continue
        listed = fetched(f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list")
        for tab in json.loads(listed or "[]"):
            found = urllib.parse.urlsplit(tab["url"]).fragment
            if found:
                return json.loads(urllib.parse.unquote(found))
    return sys.exit("the pages did not come to an end")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=15, help="of each page, that count")
    parser.add_argument("--server", type=Path, default=ROOT / "target/debug/msao-server")
    parser.add_argument("--package", type=Path, default=ROOT / "wasm-runtime/pkg")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chromium = os.environ.get("MSAO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("no Chromium: set MSAO_CHROMIUM")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch)
        page, profile = scratch / "page", scratch / "profile"
        shutil.copytree(Path(__file__).parent, page, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        shutil.copytree(arguments.package, page / "engine", ignore=shutil.ignore_patterns("webgpu"))
        address = f"127.0.0.1:{free_port()}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(
            [arguments.server, "--listen", address, "--page", page, "--weights", ROOT / "models/weights"], **quiet)
        browser = None
        try:
            while fetched(f"http://{address}/empty.html") is None:
                if server.poll() is not None:
                    sys.exit("the server did not start")
                pause(0.2)
            browser = subprocess.Popen(
                [chromium, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run",
                 f"--user-data-dir={profile}", "--remote-debugging-port=0", f"http://{address}/empty.html?visits={arguments.visits}&first={FIRST}"], **quiet)
            found = visits(profile, browser)
        finally:
            for process in filter(None, (browser, server)):
                process.terminate()
                process.wait()
    of = lambda page, name: [visit[name] for visit in found if visit["page"] == page][FIRST:]
    empty, ready = (statistics.median(of(page, "ready_ms")) for page in ("empty", "ready"))
    first_token = statistics.median(of("ready", "first_token_ms"))
    print("| page | ready, ms since navigation |\n|---|---:|")
    print(f"| empty, the engine's module alone | {empty:.0f} |")
    print(f"| with an assistant | {ready:.0f} |")
    print(f"\n{ready / empty:.2f} times the empty page; the first token of a first question {first_token:.0f} ms later")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
