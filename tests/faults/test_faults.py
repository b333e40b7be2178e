"""The fault harness: what it draws, how it counts, and what it holds to be wrong."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from scripts.faults.count import Request, back_after_s, count, wrong
from scripts.faults.plan import (
    FIRST_S,
    JOIN_S,
    KINDS,
    LASTING,
    RAMP_S,
    TAIL_S,
    draw,
    expected,
)
from scripts.faults.relay import Relay
from scripts.faults.stage import requests
from tests.support.records import header, turn_record, unfinished_record
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID, Verdict
from tokenswarm.measure.verdict.grades import Check, Limits

ENDING = Ending(
    at_s=20.0,
    salted=True,
    workers=2,
    workers_lost=0,
    workers_unreported=0,
    engine_lateness_p99_s=None,
    engine_arrival_lateness_p99_s=None,
)


def test_a_seed_draws_the_same_fault_and_many_seeds_draw_all_kinds():
    assert draw(7) == draw(7)
    drawn = Counter(draw(seed).kind for seed in range(400))
    assert set(drawn) == set(KINDS)
    for seed in range(400):
        fault = draw(seed)
        assert 0 <= fault.victim < fault.workers
        assert (fault.for_s is None) is (fault.kind not in LASTING)
        assert expected(fault).grades


def test_a_level_lasts_until_all_of_its_fault_is_seen():
    for seed in range(400):
        one = draw(seed)
        seen_s = one.hold_s - RAMP_S - FIRST_S - one.after_s - (one.for_s or 0.0)
        assert seen_s >= TAIL_S + (JOIN_S if one.joins else 0.0)
        assert seen_s <= 35
    crowd, still = fault("eight late workers"), fault("long pause of worker")
    assert (crowd.joins, expected(crowd).workers) == (8, crowd.workers + 8)
    assert still.for_s is not None and 18 <= still.for_s <= 22
    assert expected(still).grades["workers"] == (INVALID,) and expected(still).back


def request(session="w0.u0.s0", digest="a", last_at=1.0, sent_at=1.0) -> Request:
    return Request(session=session, digest=digest, began_at=0.5, last_at=last_at, sent_at=sent_at)


def turns(n, session="w0.u0.s0"):
    return [turn_record(session=session, turn=turn) for turn in range(n)]


def test_a_turn_counts_once_in_both_ledgers():
    seen = [request(digest="a"), request(digest="b")]
    found = count(seen, [turns(2), turns(2)], killed_at=None)
    assert (found.finished, found.answered) == (2, 2)
    assert (found.lost, found.duplicated, found.invented, found.in_the_air) == (0, 0, 0, 0)


def test_a_turn_in_no_ledger_is_lost_unless_its_client_died_that_moment():
    seen = [request(digest="a"), request(digest="b", sent_at=9.9)]
    assert count(seen, [turns(1)], killed_at=None).lost == 1
    found = count(seen, [turns(1)], killed_at=10.0)
    assert (found.lost, found.in_the_air) == (0, 1)
    assert count(seen, [turns(1)], killed_at=30.0).lost == 1


def test_a_loss_in_one_session_is_not_made_up_for_by_another():
    seen = [request(digest="a"), request(digest="b")]
    found = count(seen, [[*turns(1), *turns(1, "w0.u1.s0")]], killed_at=None)
    assert (found.lost, found.invented) == (1, 1)


def test_a_turn_that_was_cut_off_is_not_answered():
    under_way = [request(digest="a", last_at=None, sent_at=None)]
    found = count(under_way, [[unfinished_record(session="w0.u0.s0")]], killed_at=None)
    assert (found.finished, found.answered, found.lost, found.invented) == (0, 0, 0, 0)


def test_a_body_sent_twice_and_a_turn_written_twice_are_duplicates():
    assert count([request(), request()], [turns(2)], killed_at=None).duplicated == 1
    assert count([request()], [[*turns(1), *turns(1)]], killed_at=None).duplicated == 1


def steady_turns(start_s, end_s, every_s=0.1):
    """At 1M TPM: 1,667 tokens each."""
    n = round((end_s - start_s) / every_s)
    sent = [start_s + k * every_s for k in range(n)]
    return [
        turn_record(sent_at_s=at_s, planned_prompt_tokens=round(1e6 / 60 * every_s))
        for at_s in sent
    ]


def test_a_rate_is_back_after_the_first_window_of_those_that_stay_on_the_line():
    records = [*steady_turns(0.0, 5.0), *steady_turns(9.0, 20.0)]
    assert back_after_s(records, 1e6, 5.0, 20.0) == pytest.approx(6.5, abs=0.5)
    assert back_after_s(records, 1e6, 5.0, 11.0) is None
    assert back_after_s(steady_turns(0.0, 20.0), 1e6, 5.0, 20.0) == 3.0
    thinned = [r for k, r in enumerate(steady_turns(5.0, 20.0)) if k % 2]
    assert back_after_s(thinned, 1e6, 5.0, 20.0) is None


def judged(**grades: str | None) -> Verdict:
    limits = Limits(suspect=0, invalid=0, unit="", source="")
    return Verdict(
        tuple(
            Check(name=n.replace("_", " "), grade=g, figure=0, limits=limits, finding="", mend="")
            for n, g in grades.items()
        )
    )


def fault(kind):
    return next(f for f in map(draw, range(1000)) if f.kind == kind and f.workers == 2)


def test_a_false_green_is_wrong_and_so_is_its_exit_code():
    ledger = Ledger(header(), [], [], ending=ENDING)
    killed = fault("kill worker")
    assert wrong(killed, judged(workers=INVALID), ledger, 4, "") == []
    assert wrong(killed, judged(workers=VALID), ledger, 0, "") == [
        "workers is VALID, not INVALID",
        "exit code 0, not 4",
    ]


def test_a_run_without_a_fault_may_be_disturbed_by_a_busy_machine_only():
    ledger = Ledger(header(), [], [], ending=ENDING)
    calm_run = fault("none")
    calm = judged(workers=VALID, end=VALID, hub_stalls=SUSPECT)
    assert wrong(calm_run, calm, ledger, 0, "") == []
    busy = judged(workers=VALID, end=VALID, hub_stalls=INVALID)
    assert wrong(calm_run, busy, ledger, 4, "") == []
    odd = judged(workers=VALID, end=VALID, offered_load=INVALID)
    assert wrong(calm_run, odd, ledger, 4, "") == ["offered load is INVALID without a cause"]
    assert (
        wrong(calm_run, calm, ledger, 0, "Traceback (most recent")[-1] == "'Traceback' is printed"
    )


def test_a_ledger_without_an_end_is_right_of_a_killed_master_only():
    ledger = Ledger(header(), [], [], ending=None)
    assert wrong(fault("kill master"), judged(end=INVALID), ledger, 4, "") == []
    said = wrong(fault("none"), judged(workers=VALID, end=VALID), ledger, 0, "")
    assert said == ["the ledger has no end"]


def test_the_servers_log_is_read_and_preflight_is_no_session(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    log.write_text(
        '{"number":0,"what":"began","at":1.0,"session":"","digest":"p"}\n'
        '{"number":1,"what":"began","at":2.0,"session":"5a1t.w0.u3.s1","digest":"d"}\n'
        '{"number":1,"what":"last","at":2.5}\n'
    )
    assert requests(log) == [
        Request(session="w0.u3.s1", digest="d", began_at=2.0, last_at=2.5, sent_at=None)
    ]


def test_a_link_is_cut_held_and_mended():
    with socket.create_server(("127.0.0.1", 0)) as master:
        relay = Relay(master.getsockname()[1])
        with socket.create_connection(("127.0.0.1", relay.port)) as worker:
            end, _ = master.accept()
            worker.sendall(b"a")
            assert end.recv(1) == b"a"
            relay.swallow()
            worker.sendall(b"b")
            end.settimeout(0.2)
            with pytest.raises(TimeoutError):
                end.recv(1)
            relay.mend()
            end.settimeout(5)
            assert end.recv(1) == b"b"
            relay.cut()
            assert end.recv(1) == b""
            end.close()
        with socket.create_connection(("127.0.0.1", relay.port)) as refused:
            refused.settimeout(5)
            assert refused.recv(1) == b""
        relay.close()
