from dataclasses import asdict

import orjson
import pytest

from tests.support.known_truth import known_run
from tests.support.records import ending
from tests.support.runs import ladder_run
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.report.notation import usd_text

SEED = ["cost", "--input", "88k", "--cached", "96%", "--output", "450"]


def rows(out, model):
    lines = out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(model))
    return lines[at].split(), lines[at + 1].split()


def test_the_seeds_table(capsys):
    assert main(SEED) == 0
    out = capsys.readouterr().out
    without, with_cache = rows(out, "claude-opus-4-6")
    assert without[3] == "$0.451" and with_cache[1] == "$0.0755"
    without, with_cache = rows(out, "together/moonshotai/Kimi-K2.6")
    assert without[3] == "$0.108" and with_cache[1] == "$0.0231"
    assert "1,278,409 requests a year" in out
    assert "claude-opus-4-6: 2026-06, platform.claude.com" in out


def test_unknown_cache_discounts_are_a_dash(capsys):
    assert main(["cost", "--input", "88k", "--output", "450"]) == 0
    out = capsys.readouterr().out
    assert rows(out, "claude-opus-4-6")[1][1] == "-"
    assert "unknown of them cached" in out


def test_a_run_gives_the_request_and_the_capacity(tmp_path, capsys):
    run = stored(tmp_path, known_run([1e6, 2e6, 2.8e6], sigma=0.05))
    assert main(["cost", str(run), "--gpu-hour", "4.50", "--slo", "ttft_p50<2s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Measured: SIMULATED by sim:trtllm-like")
    assert "4 GPUs at $4.50 an hour" in out
    assert "Capacity 2.1" in out  # between 2M and 2.8M


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost"], "--input is missing"),
        (["cost", "--input", "88k"], "--output is missing"),
        ([*SEED, "--cached", "1.2"], "--cached '1.2': accepted are 0% to 100%"),
        ([*SEED, "--model", "gpt"], "--model 'gpt': not in"),
        ([*SEED, "--prices", "/missing.toml"], "/missing.toml"),
        ([*SEED, "--gpu-hour", "4"], "--gpus is missing"),
        ([*SEED, "--gpu-hour", "4", "--gpus", "4"], "--gpu-hour needs a capacity"),
        (["cost", "/missing-run"], "no ledger"),
    ],
)
def test_bad_input_exits_2_and_names_itself(capsys, arguments, message):
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err and streams.out == ""


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0.451, "$0.451"), (0.0755, "$0.0755"), (5.0, "$5.00"), (18.25, "$18.2"), (999.9, "$1K"),
     (439_300, "$439K"), (1.278e6, "$1.28M"), (None, "-"), (0.0, "$0.00")],
)  # fmt: skip
def test_dollars(usd, text):
    assert usd_text(usd) == text


def test_the_verdict_on_the_run_stands_above_its_bill(tmp_path, capsys):
    run = stored(tmp_path / "run", ladder_run(targets_tpm=(1e6,)))
    with (run / "ledger.jsonl").open("ab") as ledger:
        end = asdict(ending(workers=2, workers_lost=1))
        ledger.write(orjson.dumps({"end": end}, option=orjson.OPT_APPEND_NEWLINE))
    assert main(["cost", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()[1]
    assert said.startswith("The run is INVALID for workers") and "do not use" in said
