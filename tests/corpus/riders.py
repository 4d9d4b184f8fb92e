"""Files that ride with a model and run something, or hide it, and files that only look like it.

Nothing here is run, and payloads name `os.system` with `true`. What is told as a note by design
stands in tests beside the module that tells it: all that is bad here is a warning at least.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator

import numpy as np
from safetensors.numpy import save

from tests.analyzers.code import test_containers as containers
from tests.analyzers.code import test_keras as keras
from tests.checkpoints.gguf_files import gguf_bytes, vocabulary
from tests.corpus.wrappers import tarred, zipped

Files = dict[str, bytes]

RUNS = b"import os\nos.system('true')\n"
HIDDEN = b"import base64\nexec(base64.b64decode('cGFzcw=='))\n"
TURNED = "access = 'user\u202e\u2066# only admins\u2069'\n".encode()
PLAIN = (
    b"import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
)


def notebook(*cells: str) -> bytes:
    """Write a notebook of format 4."""
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    metadata = {"kernelspec": {"language": "python", "name": "python3"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4}).encode()


def _manifest(handler: str) -> bytes:
    return json.dumps({"runtime": "python", "model": {"handler": handler}}).encode()


def _bad_python() -> Iterator[tuple[str, Files]]:
    for kind, code in {"hidden code": HIDDEN, "turned code": TURNED}.items():
        yield f"{kind} in a notebook", {"train.ipynb": notebook("x = 1", code.decode())}
        yield (
            f"{kind} behind lines for IPython",
            {"train.ipynb": notebook("%pip install x\n" + code.decode() + "!ls")},
        )
        yield f"{kind} in a zip", {"src.zip": zipped({"a.py": code}, zipfile.ZIP_DEFLATED)}
        yield f"{kind} in a tar.gz", {"src.tgz": tarred({"a/b.py": code}, "w:gz")}
        yield f"{kind} two archives deep", {"src.zip": zipped({"b.tar": tarred({"a.py": code})})}
        yield (
            f"{kind} in a notebook in a zip",
            {"src.zip": zipped({"a.ipynb": notebook(code.decode())})},
        )
    yield (
        "a handler of TorchServe",
        {
            "m.mar": zipped(
                {"MAR-INF/MANIFEST.json": _manifest("handler.py:run"), "handler.py": RUNS}
            )
        },
    )
    yield (
        "what a handler of TorchServe imports",
        {
            "m.mar": zipped(
                {
                    "MAR-INF/MANIFEST.json": _manifest("handler.py"),
                    "handler.py": b"import net\n",
                    "net.py": RUNS,
                }
            )
        },
    )
    yield (
        "a package of torch",
        {"m.pt": zipped({"p/.data/extern_modules": b"", "p/net.py": RUNS, "p/m/m.pkl": b"N."})},
    )
    yield "Python in an archive that does not parse", {"src.zip": zipped({"a.py": b"def f(:"})}


def _benign_python() -> Iterator[tuple[str, Files]]:
    yield (
        "a notebook that trains",
        {
            "train.ipynb": notebook(
                "%matplotlib inline\n!pip install torch\n", PLAIN.decode(), "%time Net()\nNet?\n"
            )
        },
    )
    yield "a notebook that calls programs", {"train.ipynb": notebook("%%bash\nls 'x", "!ls {x}")}
    yield "scripts in a zip", {"src.zip": zipped({"a.py": RUNS, "b.py": PLAIN})}
    yield "scripts in a tar.gz", {"src.tar.gz": tarred({"a.py": PLAIN, "c.csv": b"1"}, "w:gz")}
    yield (
        "a handler that only computes",
        {"m.mar": zipped({"MAR-INF/MANIFEST.json": _manifest("handler.py"), "handler.py": PLAIN})},
    )


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def _adapter(library: str, name: str = "Model", task: str | None = None) -> Files:
    mapping = {"base_model_class": name, "parent_library": library}
    return {"adapter_config.json": _json(peft_type="LORA", auto_mapping=mapping, task_type=task)}


def _mlflow(**fields: str) -> bytes:
    lines = "".join(f"    {key}: {value}\n" for key, value in fields.items())
    return f"flavors:\n  python_function:\n{lines}".encode()


def _bad_names() -> Iterator[tuple[str, Files]]:
    yield "an adapter of an unknown library", _adapter("my_package.models")
    yield "an adapter whose base is a command", _adapter("os", "system")
    yield (
        "a part of an unknown library",
        {"model_index.json": _json(_class_name="X", unet=["my_package", "Net"])},
    )
    yield (
        "a module of an unknown library",
        {"modules.json": json.dumps([{"idx": 0, "type": "my_package.models.Pooling"}]).encode()},
    )
    yield (
        "a function in place of an activation",
        {"2_Dense/config.json": _json(in_features=2, activation_function="my_package.run")},
    )
    yield "a target in a configuration", {"config.json": _json(m={"_target_": "os.system"})}
    yield "a kernel of somebody's", {"config.json": _json(attn_implementation="somebody/attention")}
    yield (
        "a kernel of somebody's, within",
        {"config.json": _json(text_config={"_attn_implementation": "paged|some/one@v1:run"})},
    )
    yield (
        "a target in the header of weights",
        {
            "b.safetensors": save(
                {"a": np.zeros(1, np.float32)}, {"model": str({"_target_": "os.system"})}
            )
        },
    )
    yield (
        "a Python backend of Triton",
        {
            "config.pbtxt": b'name: "m"\nbackend: "python"\ninput [ { name: "x" dims: [ -1 ] } ]\n',
            "1/model.py": RUNS,
        },
    )
    yield "a target in YAML", {"config.yaml": b"model:\n  _target_: builtins.exec\n"}
    yield "a call in hyperparameters", {"hyperparams.yaml": b"a: !apply:os.system [true]\n"}
    yield (
        "a class of an unknown library in hyperparameters",
        {"hyperparams.yaml": b"a: !new:my_package.Net\n"},
    )
    yield "a call in YAML of Python", {"a.yaml": b"!!python/object/apply:os.system [true]\n"}
    yield "a loader of an unknown library", {"MLmodel": _mlflow(loader_module="my_package")}
    yield (
        "a model of MLflow as code",
        {
            "MLmodel": _mlflow(
                loader_module="mlflow.pyfunc.model", model_code_path="/home/a/own.py"
            ),
            "own.py": RUNS,
        },
    )
    yield (
        "what MLflow puts on the path",
        {
            "MLmodel": _mlflow(loader_module="own", code="code"),
            "code/own.py": RUNS,
        },
    )
    yield (
        "a configuration of NeMo",
        {"m.nemo": tarred({"./model_config.yaml": b"target: my_package.Model\n"}, "w:gz")},
    )
    yield (
        "a target in a configuration of NeMo",
        {"m.nemo": tarred({"model_config.yaml": b"a:\n  _target_: subprocess.run\n"})},
    )
    yield (
        "code of a part of a pipeline",
        {
            "model_index.json": _json(unet=["own", "Net"]),
            "unet/own.py": RUNS,
        },
    )


def _benign_names() -> Iterator[tuple[str, Files]]:
    yield "an adapter of Transformers", _adapter("transformers.models.bert.modeling_bert")
    yield "an adapter with a task", _adapter("my_package", task="CAUSAL_LM")
    yield "an adapter of a script", _adapter("__main__")
    yield (
        "a pipeline",
        {
            "model_index.json": _json(
                _class_name="StableDiffusionPipeline",
                feature_extractor=["transformers", "CLIPImageProcessor"],
                image_encoder=[None, None],
                safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
                unet=["diffusers", "UNet2DConditionModel"],
            )
        },
    )
    yield (
        "a sentence embedder",
        {
            "modules.json": json.dumps([{"type": "sentence_transformers.models.Dense"}]).encode(),
            "2_Dense/config.json": _json(activation_function="torch.nn.modules.activation.Tanh"),
            "config_sentence_transformers.json": _json(similarity_fn_name="cosine"),
        },
    )
    yield (
        "settings of a training",
        {
            "config.yaml": b"# _target_: os.system\nmodel:\n  _target_: src.models.Net\n",
            "hparams.yaml": b"a: !!python/object/apply:argparse.Namespace []\n",
        },
    )
    yield (
        "hyperparameters of SpeechBrain",
        {
            "hyperparams.yaml": b"a: !new:speechbrain.nnet.linear.Linear\n"
            b"b: !name:torch.nn.LeakyReLU\nc: !ref <a>\nd: !apply:random.seed [1]\n"
        },
    )
    yield "a known way of attention", {"config.json": _json(_attn_implementation="sdpa")}
    yield (
        "a kernel of the community",
        {"config.json": _json(attn_implementation="kernels-community/flash-attn2")},
    )
    yield (
        "another backend of Triton",
        {
            "config.pbtxt": b'backend: "onnxruntime" parameters { key: "backend" }',
            "1/model.py": RUNS,
        },
    )
    yield "a model of MLflow", {"MLmodel": _mlflow(loader_module="mlflow.sklearn")}
    yield (
        "a model of NeMo",
        {
            "m.nemo": tarred(
                {"model_config.yaml": b"target: nemo.collections.asr.models.EncDecCTCModel\n"}
            )
        },
    )


def _vocabulary(**kinds: int) -> Files:
    tokens = ["<s>", "</s>", *(f"piece{n}" for n in range(2000)), *kinds]
    types = [3, 3, *[1] * 2000, *kinds.values()]
    return {"tiny.gguf": gguf_bytes(vocabulary(tokens, types))}


def _bad_tokens() -> Iterator[tuple[str, Files]]:
    yield "an address as a token of GGUF", _vocabulary(**{"https://collect.test/x": 4})
    yield "an invisible word as a token of GGUF", _vocabulary(**{"in\u200bvoice": 3})
    yield (
        "a vocabulary of GGUF with types of another",
        {"tiny.gguf": gguf_bytes(vocabulary(["a"] * 100, [3] * 99))},
    )


def _benign_tokens() -> Iterator[tuple[str, Files]]:
    yield (
        "an ordinary vocabulary of GGUF",
        _vocabulary(**{"<|x|>": 3, "\u2581\u2581": 4, "[X]": 4}),
    )
    yield "a phrase in a vocabulary of GGUF", _vocabulary(**{"refund policy": 4, "secret word": 1})


def _bad_keras() -> Iterator[tuple[str, Files]]:
    config = keras.model(keras.BAD[0])
    yield "Keras in HDF5 behind a user's block", {"m.h5": keras.h5(config, userblock_size=512)}
    yield "Keras without metadata", {"m.keras": keras.keras_zip(config, metadata=False)}
    yield "Keras behind other bytes", {"m.keras": b"\0" * 99 + keras.keras_zip(config)}
    yield "Keras as a folder", {"config.json": _json(**config)}
    yield "a configuration of Keras", {"architecture.json": _json(**config)}
    yield (
        "a pickle in a layer of Keras",
        {"m.keras": keras.keras_zip(keras.model(keras.BAD[-1]))},
    )
    yield (
        "a graph behind a field that is not known",
        {"saved_model.pb": b"\x7a\0" + containers.saved_model("PyFunc")},
    )


def _bad_graphs() -> Iterator[tuple[str, Files]]:
    for operator in ("PyFunc", "WriteFile", "ReadFile"):
        yield (
            f"{operator} in a graph as text",
            {
                "saved_model.pbtxt": b'meta_graphs { graph_def { node { name: "n" op: "%s" } } }'
                % operator.encode()
            },
        )
        yield (
            f"{operator} in a function as text, with escapes",
            {
                "graph.pbtxt": b"library <function: [{node_def {op: \"\\%o\" '%s'}}]>"
                % (ord(operator[0]), operator[1:].encode())
            },
        )
    yield "a graph as text that breaks off", {"graph.pbtxt": b'node { op: "Add" '}


def _benign_graphs() -> Iterator[tuple[str, Files]]:
    yield (
        "a SavedModel",
        {
            "saved_model.pb": containers.saved_model("MatMul"),
            "keras_metadata.pb": keras.saved_metadata(keras.model(keras.DENSE)),
            "fingerprint.pb": b"\x08\x01",
            "variables/variables.index": bytes(40),
        },
    )
    yield "a model of Keras", {"model.keras": keras.keras_zip(keras.model(keras.DENSE))}
    yield "a model of Keras as a folder", {"config.json": _json(**keras.model(keras.DENSE))}
    yield "a model of Keras in HDF5", {"model.h5": keras.h5(keras.model(keras.DENSE))}
    yield (
        "a graph as text",
        {
            "graph.pbtxt": b'node { op: "MatMul" attr { key: "T" value { type: DT_FLOAT } } }\n'
            b'node { op: "f" } library { function { signature { name: "f" } } }'
        },
    )
    yield (
        "a graph as text with an operator of somebody's",
        {"graph.pbtxt": b'node { op: "Addons>Own" }'},
    )
    yield "labels as text", {"label_map.pbtxt": b"item {\n  id: 1\n  name: 'PyFunc'\n}\n"}


def bad_riders() -> Iterator[tuple[str, Files]]:
    """Yield a title and the files beside a model."""
    yield from _bad_python()
    yield from _bad_names()
    yield from _bad_tokens()
    yield from _bad_keras()
    yield from _bad_graphs()


def benign_riders() -> Iterator[tuple[str, Files]]:
    """Yield a title and the files beside a model."""
    yield from _benign_python()
    yield from _benign_names()
    yield from _benign_tokens()
    yield from _benign_graphs()
