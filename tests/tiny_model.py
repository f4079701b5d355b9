"""A real, very small ONNX model in a folder as on the hub: its words have one of a few meanings each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("onnxruntime")


def make_model(home: Path, meanings: Sequence[Sequence[str]]) -> Path:
    """An embedding table and nothing else, mean pooling: a dimension for each meaning, the last for all other words."""
    places = [("[UNK]", len(meanings))] + [
        (word, meaning) for meaning, words in enumerate(meanings) for word in words
    ]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, (word, _) in enumerate(places)}, "[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.save(str(home / "tokenizer.json"))
    size = len(meanings) + 1
    rows = np.full((len(places), size), 0.05, dtype=np.float32)
    rows[0] = 0.0
    rows[range(len(places)), [meaning for _, meaning in places]] = 1.0
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "length"])],
        [
            helper.make_tensor_value_info(
                "last_hidden_state", onnx.TensorProto.FLOAT, ["batch", "length", size]
            )
        ],
        [numpy_helper.from_array(rows, "table")],
    )
    opset = [helper.make_opsetid("", 13)]
    (home / "onnx").mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(home / "onnx" / "model.onnx"))
    (home / "1_Pooling").mkdir()
    (home / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return home
