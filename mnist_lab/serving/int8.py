"""Whole numbers of 8 bits in ONNX Runtime: weights and what flows between layers, and the time.

    quantise_onnx("digits.onnx", images, "digits8.onnx")    # images: normalised, to learn ranges
    network, card = load_onnx("digits8.onnx")               # as any other
    time_of_nodes("digits8.onnx", images)                   # {"Conv": 0.4, ...} of the whole

Before each layer a node quantises, behind it one goes back to float32 (the format is called QDQ);
the runtime fuses what it can. `time_of_nodes` asks its own profiler where the time goes.

Sources: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html; Jacob et al.
2018, https://arxiv.org/abs/1712.05877
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.export import ExportError
from mnist_lab.extras import needs_extra
from mnist_lab.files import open_regular, write_atomically
from mnist_lab.reasons import reason_of

_BATCH = 250  # images at a time, while ranges are learnt


def quantise_onnx(
    source: str | Path,
    images: NDArray[np.float32],
    target: str | Path,
    *,
    per_channel: bool = True,
) -> None:
    """Write a network of `export_onnx` in int8: weights by their range, activations by `images`'.

    Parameters
    ----------
    source, target : path
    images : float32 (n, 1, height, width)
        Normalised, as the network takes them. What flows between the layers for these decides the
        scales; what is beyond them later is cut off.
    per_channel : bool
        Whether each output has a scale of its own, or a whole layer one.

    Raises
    ------
    ExportError
        If a package is missing, there is no image, or the file is no network that can be quantised.
    """
    if not len(images):
        raise ExportError("Ranges are learnt from images: at least one is needed.")
    with needs_extra("serve", ExportError):
        import onnx
        from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.waiting = iter(range(0, len(images), _BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            start = next(self.waiting, None)
            return None if start is None else {"images": images[start : start + _BATCH]}

    with open_regular(Path(source)) as file:
        content = file.read()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises a step that changes nothing here
    try:
        with tempfile.TemporaryDirectory() as scratch:
            written = Path(scratch) / "int8.onnx"
            quantization.quantize_static(
                onnx.load_model_from_string(content),
                written,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=per_channel,
            )
            whole = written.read_bytes()
    except Exception as error:  # it raises what its parts raise
        raise ExportError(f"{source} cannot be quantised: {reason_of(error)}.") from error
    finally:
        logging.disable(disabled)
    write_atomically(target, whole)


def time_of_nodes(
    path: str | Path, images: NDArray[np.float32], *, runs: int = 50
) -> dict[str, float]:
    """Return the share of the time that each kind of node takes, the largest first.

    ONNX Runtime's own profiler measures it, on one thread; of each node the median of its runs
    counts, since other work on the machine interrupts some. The kinds are those of the graph after
    the runtime has fused what it could: a quantised convolution is a "QLinearConv".

    Parameters
    ----------
    path : path
    images : float32 (n, 1, height, width)
        One batch, normalised. Of a single image a node takes about as long as the clock's step.
    runs : int
        How often it is read; the first runs, which also make room, are left out.

    Raises
    ------
    ExportError
        If ONNX Runtime is missing, or cannot compute the file.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for event in _profile(path, images, runs):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = (event["args"]["op_name"], event["name"])
            times.setdefault(node, []).append(event["dur"])
    totals: dict[str, float] = {}
    for (kind, _), durations in times.items():
        totals[kind] = totals.get(kind, 0) + statistics.median(durations)
    whole = sum(totals.values())
    by_time = sorted(totals.items(), key=lambda item: -item[1])
    return {kind: time / whole for kind, time in by_time}


def _profile(path: str | Path, images: NDArray[np.float32], runs: int) -> list[dict[str, Any]]:
    """Return what the profiler saw, but for the first runs."""
    with needs_extra("serve", ExportError):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with open_regular(Path(path)) as file, tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = str(Path(scratch) / "profile")
        try:
            session = onnxruntime.InferenceSession(
                file.read(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises what its C++ parts raise
            raise ExportError(f"ONNX Runtime cannot compute it: {reason_of(error)}.") from error
        warm_up = max(1, runs // 10)
        for _ in range(warm_up + runs):
            session.run(["logits"], {"images": images})
        told = Path(session.end_profiling()).read_text(encoding="utf-8")
    events: list[dict[str, Any]] = json.loads(told)
    begins = sorted(event["ts"] for event in events if event["name"] == "model_run")
    return [event for event in events if event["ts"] >= begins[warm_up]]
