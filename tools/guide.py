"""Run the commands that the guide shows, on real models, and put their output into its pages.

    python -m tools.guide            rewrite what has changed
    python -m tools.guide --check    name the pages that would change, and exit with 1

Each line `$ command` in a block marked `console` is run in a folder that holds the models of
`MODELS`; the lines up to the next command or the end of the block are its output.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.assets import file_of

DOCS = Path(__file__).parents[1] / "docs"
PACK_PAGE = DOCS / "guide" / "packs.md"
"""The page whose example pack the guide validates."""
_ALL = re.MULTILINE | re.DOTALL
MODELS = {
    "all-MiniLM-L6-v2": ("all-minilm-l6-v2", "model.safetensors", True),
    "SmolLM2-135M-Instruct.Q4_1.gguf": (
        "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", False,
    ),
}  # fmt: skip
"""Name in the guide to asset, file, and whether the file's whole folder is meant."""
PLANNED = """\
model.name: Planned-400B
training.compute: 3e25
training.compute.planned: yes
model.parameters.total: 400e9
model.modalities.input: text
model.modalities.output: text
license.effective: llama3.1
weights.public: yes
release.eu_market_date: 2026-10-01
actor.established_in: us
"""
"""The facts of a model that is only planned."""
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lay_out(folder: Path) -> None:
    """Put the models under the names that the guide gives them."""
    for name, (asset, file, whole_folder) in MODELS.items():
        path = file_of(asset, file)
        (folder / name).symlink_to(path.parent if whole_folder else path)
    (folder / "planned.yaml").write_text(PLANNED, encoding="utf-8")
    pack = re.search(r"^```yaml\n(id: acme.*?)^```$", PACK_PAGE.read_text(encoding="utf-8"), _ALL)
    if pack is not None:
        (folder / "acme.yaml").write_text(pack[1], encoding="utf-8")


def run(command: str, folder: Path, code: int) -> tuple[str, int]:
    """Run one command after one that ended with `code`; return its output and its own code."""
    programs = Path(sys.executable).parent
    environ = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    script = f"set -o pipefail; (exit {code}); {command}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder / "work", env=environ, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout.replace(str(folder), "/home/me"), done.returncode


def filled(text: str, folder: Path) -> str:
    """Return a page with the output of its commands."""

    def fill(block: re.Match[str]) -> str:
        code, lines = 0, []
        for line in block[1].splitlines():
            if line.startswith("$ "):
                output, code = run(line[2:], folder, code)
                lines += [line, *output.rstrip("\n").splitlines()]
        return "```console\n" + "\n".join(lines) + "\n```"

    return _BLOCK.sub(fill, text)


def main(arguments: list[str]) -> int:
    """Rewrite or check every page; return the exit code."""
    changed = []
    for page in sorted(DOCS.rglob("*.md")):
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "work").mkdir()
            lay_out(Path(name) / "work")
            before = page.read_text(encoding="utf-8")
            after = filled(before, Path(name))
        if after != before:
            changed.append(page)
            if "--check" not in arguments:
                page.write_text(after, encoding="utf-8")
    for page in changed:
        print(page.relative_to(DOCS.parent))
    return int(bool(changed) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
