"""Fits the engine's step-time coefficients to NVIDIA AIConfigurator's operator tables.

    pip install -e '.[fit]'
    python scripts/fit_coefficients.py --write     # engine/physics/fitted.py; then ruff format
    python scripts/fit_coefficients.py --check     # the committed one against fresh fits

The tables are measured per operator; AIConfigurator adds operators up to a step. So the targets
are a model's predictions from measured parts, not end-to-end measurements of an engine.

Least squares on the relative error, coefficients not negative, over the region that coding
sessions live in: NEW tokens on EARLIER ones (prefill), SEQUENCES of CONTEXT tokens (decode).
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tokenswarm.engine.physics.fit import DecodeFit, Error, Fit, PrefillFit

try:
    from aiconfigurator_core.sdk import EngineHandle
    from scipy.optimize import nnls
except ImportError as error:
    sys.exit(f"{error}: install the optional extra: pip install -e '.[fit]'")

NEW = (512, 1024, 2048, 4096, 8192)
EARLIER = (0, 8192, 16384, 32768, 65536, 98304, 131072, 196608)
SEQUENCES = (1, 2, 4, 8, 16, 32, 64)
CONTEXT = (49152, 65536, 98304, 131072, 196608)
MOST_TOKENS = 6_000_000  # sequences x context: no pool of one node holds more
DRAFTS = (0, 1, 2, 3, 4, 5)

NVFP4 = "nvidia/Kimi-K2.5-NVFP4"
TARGET = Path(__file__).parent.parent / "tokenswarm" / "engine" / "physics" / "fitted.py"


class Setting(NamedTuple):
    software: str
    backend: str  # AIConfigurator's name
    version: str
    system: str
    model: str
    gpus: int


SETTINGS = (
    Setting("TensorRT-LLM", "trtllm", "1.3.0rc20", "b200_sxm", NVFP4, 4),
    Setting("TensorRT-LLM", "trtllm", "1.3.0rc20", "b200_sxm", NVFP4, 8),
    Setting("SGLang", "sglang", "0.5.14", "b200_sxm", NVFP4, 4),
    Setting("SGLang", "sglang", "0.5.14", "b200_sxm", NVFP4, 8),
)


def handle(setting: Setting, drafts: int) -> EngineHandle:
    """The table look-up of one setting: tensor-parallel, experts split too, fp8 KV."""
    return EngineHandle.compile(
        setting.model,
        setting.system,
        setting.backend,
        backend_version=setting.version,
        tp_size=setting.gpus,
        moe_tp_size=setting.gpus,
        moe_ep_size=1,
        kvcache_quant_mode="fp8",
        fmha_quant_mode="bfloat16",  # the only MLA prefill tables with fp8 KV
        nextn=drafts,
    )


def least_squares(terms: np.ndarray, table_s: np.ndarray) -> tuple[list[float], Error]:
    """Coefficients c >= 0 that minimise sum((terms @ c / table - 1)^2). terms: (points, 3)."""
    coefficients, _ = nnls(terms / table_s[:, None], np.ones(len(table_s)))
    off = np.abs(terms @ coefficients / table_s - 1)
    error = Error(mean=_round(off.mean(), 2), largest=_round(off.max(), 2), points=len(table_s))
    return [_round(c, 4) for c in coefficients], error


def fit_prefill(setting: Setting) -> PrefillFit:
    tables = handle(setting, 0)
    points = [(new, earlier) for new in NEW for earlier in EARLIER]
    table_s = [tables.predict_prefill_latency(1, n + p, p) / 1e3 for n, p in points]
    terms = [(1, n, n * (p + n / 2)) for n, p in points]
    (t0_s, a1_s, a2_s), error = least_squares(np.array(terms), np.array(table_s))
    return PrefillFit(t0_s=t0_s, a1_s=a1_s, a2_s=a2_s, error=error)


def fit_decode(setting: Setting, drafts: int) -> DecodeFit:
    tables = handle(setting, drafts)
    points = [(b, c) for b in SEQUENCES for c in CONTEXT if b * c <= MOST_TOKENS]
    table_s = [tables.predict_decode_latency(b, c) / 1e3 for b, c in points]
    terms = [(1, b**0.5, b * c) for b, c in points]
    (d0_s, d1_s, d2_s), error = least_squares(np.array(terms), np.array(table_s))
    return DecodeFit(drafts=drafts, d0_s=d0_s, d1_s=d1_s, d2_s=d2_s, error=error)


def fit(setting: Setting) -> Fit:
    return Fit(
        software=setting.software,
        version=setting.version,
        system=setting.system,
        model=setting.model,
        gpus=setting.gpus,
        prefill=fit_prefill(setting),
        decode=tuple(fit_decode(setting, drafts) for drafts in DRAFTS),
    )


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def module(fits: tuple[Fit, ...]) -> str:
    """tokenswarm/engine/physics/fitted.py, before formatting."""
    rows = "".join(f"    {made!r},\n" for made in fits)
    return (
        '"""Step-time coefficients fitted to NVIDIA\'s operator tables, and how well they fit.\n\n'
        "Written by scripts/fit_coefficients.py, do not edit. Source: "
        f'aiconfigurator-core {version("aiconfigurator-core")}.\n"""\n\n'
        "from tokenswarm.engine.physics.fit import DecodeFit, Error, Fit, PrefillFit\n\n"
        f"FITS = (\n{rows})\n"
    )


def check(fits: tuple[Fit, ...]) -> int:
    """0 where the committed fits are these, to the last printed digit."""
    from tokenswarm.engine.physics.fitted import FITS

    for made, committed in zip(fits, FITS, strict=True):
        if made != committed:
            print(f"differs:\n  fresh     {made}\n  committed {committed}", file=sys.stderr)
    return int(fits != FITS)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fits step-time coefficients to operator tables.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--write", action="store_true", help="write tokenswarm/engine/physics/fitted.py"
    )
    what.add_argument(
        "--check", action="store_true", help="compare with tokenswarm/engine/physics/fitted.py"
    )
    options = parser.parse_args()
    fits = tuple(fit(setting) for setting in SETTINGS)
    for made in fits:
        drafts_3 = next(decode for decode in made.decode if decode.drafts == 3)
        print(
            f"{made.software} {made.version}, {made.gpus} x {made.system}: mean error prefill "
            f"{made.prefill.error.mean:.1%}, decode with 3 drafts {drafts_3.error.mean:.1%}"
        )
    if options.check:
        return check(fits)
    TARGET.write_text(module(fits), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
