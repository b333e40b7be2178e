from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID, Check, Limits, Verdict
from tokenswarm.report.text.verdict import headline, sentence, text

SHARE = Limits(suspect=0.02, invalid=0.1, unit="share", source="guess")


def check(name, grade, figure=0.034, limits=SHARE, finding="of it was off"):
    return Check(
        name=name, grade=grade, figure=figure, limits=limits, finding=finding, mend="mend it"
    )


def test_a_reason_has_figure_limits_and_a_remedy():
    assert sentence(check("drift", SUSPECT)) == (
        "drift: 3.4% of it was off; suspect above 2.0%, invalid above 10.0%. Mend it."
    )


def test_what_is_counted_has_a_singular():
    levels = Limits(suspect=0, invalid=None, unit="levels", source="guess")
    assert sentence(check("samples", SUSPECT, 1.0, levels, "too thin")).startswith(
        "samples: 1 level too thin; suspect above 0 levels."
    )


def test_an_open_question_has_its_reason_and_no_limits():
    said = sentence(check("CPU", None, None, finding="nothing was measured"))
    assert said == "CPU: nothing was measured."


def test_the_worst_reason_comes_first_and_open_questions_before_what_is_passed():
    verdict = Verdict(
        (
            check("one", VALID),
            check("two", SUSPECT),
            check("three", INVALID),
            check("four", None, None),
        )
    )
    lines = text(verdict).splitlines()
    assert lines[0] == "Verdict: INVALID (1 of 4 checks not made)"
    assert [line.split()[0] for line in lines[1:]] == ["INVALID", "SUSPECT", "not", "passed"]


def test_a_verdict_without_open_questions_is_its_grade():
    assert headline(Verdict((check("one", VALID),))) == "VALID"
