"""The gate of a headless run: objectives and an earlier run, and the exit code that says so."""

from __future__ import annotations

from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.measure.ledger import read_header
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.files.junit import write_junit
from tokenswarm.report.gate import gate
from tokenswarm.shell import run as runs
from tokenswarm.shell.options import GateOptions, OptionError, Options
from tokenswarm.shell.results import PAGE
from tokenswarm.shell.run import Run
from workload.corpus import Corpus
from workload.source import Source


def require_comparable(
    options: Options, source: Source, corpus: Corpus, *, open_mode: bool, reasoning: bool
) -> None:
    """Raises OptionError where the baseline is of another workload, LedgerError or OSError where it
    cannot be read: before any traffic."""
    baseline = options.gate.baseline
    if baseline is None:
        return
    ours = runs.fingerprint(options, source, corpus, open_mode=open_mode, reasoning=reasoning)
    differences = read_header(baseline).fingerprint.differences(ours)
    if differences:
        raise OptionError(
            f"--baseline {str(baseline)!r}: of another workload: {'; '.join(differences)}; "
            "accepted: a run with the same options"
        )


def require_objectives(options: Options) -> None:
    """Raises OptionError: a search needs something to search by, that holds at low rates, and
    judges nothing."""
    slos = options.gate.slos
    for option, given in (("--baseline", options.gate.baseline), ("--junit", options.gate.junit)):
        if given is not None:
            raise OptionError(
                f"{option} {str(given)!r}: a search judges nothing; accepted: it with a ladder, or "
                "with tokenswarm report on the search's run"
            )
    if not slos:
        raise OptionError("--slo is missing; accepted: what the capacity must meet: ttft_p50<1s")
    for slo in slos:
        if slo.metric == "tpm":
            raise OptionError(
                f"--slo {slo.text!r}: missed at every rate below it; accepted here: other metrics"
            )


def exit_code(run: Run, found: Result) -> int | None:
    """Judges the run, prints and writes the answers; None without anything to judge it by."""
    options = run.options.gate
    asked = options.slos or options.limits or options.junit is not None
    if not asked and run.stopped is None:
        return None
    try:
        return _judged(run, found, options)
    except (ValueError, OSError) as error:
        print(f"tokenswarm: {error}")
        return BAD_INPUT


def _judged(run: Run, found: Result, options: GateOptions) -> int:
    judged = gate(found, run.folder, options.baseline, options.limits)
    if text := judged.text():
        from tokenswarm.report.files.page import write_page  # loads matplotlib

        print(f"\n{text}")
        write_page(run.folder / PAGE, found, text)
    if options.junit is not None:
        write_junit(options.junit, judged)
    return judged.exit_code
