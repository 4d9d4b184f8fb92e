"""`make demo`: fetch two real models and audit them, as a new user would.

Writes the JSON and Markdown reports into `demo/`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.assets import AssetUnavailable, file_of

MODELS = {
    "SmolLM2-135M-Instruct": ("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", False),
    "all-MiniLM-L6-v2": ("all-minilm-l6-v2", "model.safetensors", True),
}
"""Report name to asset, file, and whether to audit the file's whole folder."""


def main() -> int:
    """Audit each model; return 0 unless one could not be audited at all."""
    reports = Path("demo")
    reports.mkdir(exist_ok=True)
    for name, (asset, file, whole_folder) in MODELS.items():
        print(f"Fetching {name} ...", file=sys.stderr, flush=True)
        try:
            path = file_of(asset, file)
        except AssetUnavailable as error:
            print(f"error: {error}\n  fix: check the network and try again", file=sys.stderr)
            return 1
        source = str(path.parent if whole_folder else path)
        print(f"\n$ steelyard audit {source}\n", flush=True)
        command = [str(Path(sys.executable).with_name("steelyard")), "audit", source]
        outputs = ["-f", "text", "-f", f"json=demo/{name}.json", "-f", f"markdown=demo/{name}.md"]
        if subprocess.run([*command, *outputs], check=False).returncode not in (0, 1):
            return 1
    print(f"\nThe reports are in {reports}/ as JSON and Markdown.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
