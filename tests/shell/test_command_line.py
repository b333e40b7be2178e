import pytest

from tokenswarm.shell.command_line import command_line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/home/ann/.venv/bin/locust", "--hold", "8m"], "locust --hold 8m"),
        (["/opt/lib/locust/__main__.py", "-u", "3"], "locust -u 3"),
        (
            ["locust", "-f", "/home/ann/locustfiles/a.py,/home/ann/b.py", "--slo", "ttft_p50<1s"],
            "locust -f a.py,b.py --slo 'ttft_p50<1s'",
        ),
        (["locust", "--corpus=/home/ann/src"], "locust --corpus=src"),
        (["locust", "--extra-body", '{"token": "t"}', "-u", "3"], "locust --extra-body ... -u 3"),
        (['locust', '--extra-body={"token": "t"}'], "locust --extra-body=..."),
        (["locust", "--header", "X-Team: t", "-u", "3"], "locust --header ... -u 3"),
        (["locust", "--host", "https://ann:pw@llm.example.com/v1"],
         "locust --host https://llm.example.com/v1"),
        (["locust", "--host=https://ann:pw@llm/v1"], "locust --host=https://llm/v1"),
        ([], ""),
    ],
)  # fmt: skip
def test_what_may_be_secret_or_a_persons_stays_out_of_the_report(argv, said):
    assert command_line(argv) == said
