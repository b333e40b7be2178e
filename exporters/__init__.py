"""Locust's events to the outside. Every file is one `install(environment, ...)`."""
