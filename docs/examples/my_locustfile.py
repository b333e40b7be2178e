"""Coding developers of two kinds, and people who use the web application beside them.

    locust -f my_locustfile.py --headless -u 22 -r 2 -t 20m

The table counts developers only; Locust's own table has the page views too.
"""

from locust import HttpUser, between, task

from tokenswarm import CodingDeveloper


class Developer(CodingDeveloper):
    """Follows the profile's pauses: waits for tools, then for the person."""

    host = "http://127.0.0.1:8000"
    weight = 3


class HastyDeveloper(CodingDeveloper):
    """Never away from the keyboard for long."""

    host = "http://127.0.0.1:8000"
    weight = 1
    wait_time = between(2, 10)


class Visitor(HttpUser):
    """Somebody on the product's pages while the agents work: no part of our table."""

    host = "http://127.0.0.1:8080"
    fixed_count = 2
    wait_time = between(1, 5)

    @task
    def front_page(self) -> None:
        self.client.get("/")
