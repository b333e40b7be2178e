"""A working day of input TPM in ten minutes: morning, lunch, afternoon, evening.

locust -f my_shape.py --headless --host http://127.0.0.1:8000 --max-developers 100
"""

from typing import Any

from tokenswarm import CodingDeveloper, RateShape

DAY = ((180, 1.0e6), (60, 0.75e6), (240, 1.2e6), (120, 0.2e6))  # seconds, input TPM


class Developer(CodingDeveloper):
    pass


class WorkingDay(RateShape):
    def begin(self, run: Any) -> None:
        self._began_at_s = run.clock.now_s()

    def drive(self, run: Any) -> bool:
        elapsed_s = run.clock.now_s() - self._began_at_s
        for length_s, tpm in DAY:
            if elapsed_s < length_s:
                self.levels.begin(tpm=tpm, ramp_s=20)
                return True
            elapsed_s -= length_s
        self.levels.rest()  # offers nothing more
        return self.levels.in_flight() != 0 and elapsed_s < run.options.drain_s
