"""Sentence embeddings from an ONNX model, as published on the hub: the only module that knows onnxruntime.

A folder holds `tokenizer.json`, `model.onnx` or `onnx/model.onnx`, `1_Pooling/config.json` and perhaps
`sentence_bert_config.json`. Needs the extra `digestbot[semantic]`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from digestbot.errors import UsageError

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

Vectors = npt.NDArray[np.float32]  # texts x dimensions

LONGEST_TOKENS = 256  # where the folder does not say; an abstract has about 250
_INSTALL = "install it with: pip install 'digestbot[semantic]'"
_FILES = (
    "tokenizer.json",
    "model.onnx",
    "onnx/model.onnx",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)


class Embedder(Protocol):
    """Texts to vectors of length 1; equal texts give equal vectors, whatever stands beside them."""

    @property
    def fingerprint(self) -> str:
        """Names the model by its content; vectors of different fingerprints do not compare."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row per text."""


class OnnxEmbedder:
    """A sentence-embedding model held in memory."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Raises UsageError naming what the folder lacks. `threads`: 0 for one per core."""
        model = _find(folder, "model.onnx", "onnx/model.onnx")
        pooling = _find(folder, "1_Pooling/config.json")
        tokenizer = _find(folder, "tokenizer.json")
        self._longest = _longest_tokens(folder)
        self.fingerprint = _fingerprint([model, pooling, tokenizer], self._longest)
        self._first_token = bool(_read_json(pooling).get("pooling_mode_cls_token"))
        self._tokenizer = _load_tokenizer(tokenizer, self._longest)
        self._session = _load_session(model, threads)
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row per text. One text at a time: a quantised model's result depends on what shares its batch."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([self._embed_one(text) for text in texts])

    def _embed_one(self, text: str) -> npt.NDArray[np.float32]:
        encoding = self._tokenizer.encode(text)
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        arrays = {name: np.array([given[name]], dtype=np.int64) for name in self._inputs}
        output = np.asarray(self._session.run(None, arrays)[0], dtype=np.float32)[0]
        pooled = output if output.ndim == 1 else output[0] if self._first_token else output.mean(axis=0)
        return np.asarray(pooled / max(float(np.linalg.norm(pooled)), 1e-12), dtype=np.float32)


def load_embedder(name: str, *, threads: int = 0) -> OnnxEmbedder:
    """The model in the folder `name` or, where there is none, of that name on the hub (kept in its local cache)."""
    folder = Path(name).expanduser()
    return OnnxEmbedder(folder if folder.is_dir() else _from_hub(name), threads=threads)


def _from_hub(name: str) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(
            f"DIGESTBOT_EMBEDDING_MODEL: no folder {name}, and no hub client; {_INSTALL}"
        ) from None
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:  # the client raises errors of several libraries
        raise UsageError(
            f"DIGESTBOT_EMBEDDING_MODEL: {name} is no folder, and the hub did not give a model of that name: {error}"
        ) from error


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL: {folder} has no {' or '.join(names)}")


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL: {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL: {path} is not a JSON object")
    return found


def _longest_tokens(folder: Path) -> int:
    path = folder / "sentence_bert_config.json"
    longest = _read_json(path).get("max_seq_length") if path.is_file() else None
    return longest if isinstance(longest, int) and longest > 0 else LONGEST_TOKENS


def _fingerprint(files: Sequence[Path], longest: int) -> str:
    digest = hashlib.sha256(str(longest).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _load_tokenizer(path: Path, longest: int) -> tokenizers.Tokenizer:
    try:
        import tokenizers
    except ImportError:
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL needs tokenizers; {_INSTALL}") from None
    try:
        found = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL: {path} is no tokenizer: {error}") from error
    found.no_padding()
    found.enable_truncation(longest)
    return found


def _load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL needs onnxruntime; {_INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises its own kinds for each fault
        raise UsageError(f"DIGESTBOT_EMBEDDING_MODEL: {path} cannot be loaded: {error}") from error
