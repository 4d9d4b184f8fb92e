"""Write the names of TensorFlow's operators from its own list of them.

    python -m tools.tensorflow_operators ops.pbtxt VERSION > tensorflow_operators.yaml

The list ships with TensorFlow for Java, in `tensorflow-core-native` (`org/tensorflow/ops.pbtxt`),
and is written by TensorFlow itself.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from steelyard.checkpoints import protobuf_text

HEAD = """\
# Names of the operators that TensorFlow {version} defines. Others need a library of native code.
# Source: `ops.pbtxt` of TensorFlow for Java, https://github.com/tensorflow/java; written by
# tools/tensorflow_operators.py.
operators: [
"""


def names(data: bytes) -> list[str]:
    """Give the names of all operators in a list (`OpList` as text)."""
    depth = 0
    found = []
    for event in protobuf_text.events(data, "ops.pbtxt"):
        if event.ends:
            depth -= 1
        elif event.value is None:
            depth += 1
        elif depth == 1 and event.name == "name":
            found.append(event.value)
    return sorted(found)


def main() -> None:
    """Write YAML to standard output."""
    path, version = sys.argv[1:]
    body = textwrap.fill(", ".join(names(Path(path).read_bytes())), 106)
    sys.stdout.write(HEAD.format(version=version) + textwrap.indent(body, "  ") + "]\n")


if __name__ == "__main__":
    main()
