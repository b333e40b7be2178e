"""Exit codes: one family for every command, and for `locust` with our locustfiles."""

PASSED = 0
FAILED = 1  # an objective is missed, worse than the baseline, or off the profile
BAD_INPUT = 2  # nothing was sent
NOT_JUDGED = 3  # too little was measured to say
INVALID_RUN = 4  # the run's own figures cannot be trusted
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
