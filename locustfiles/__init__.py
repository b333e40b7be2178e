"""THE SHELL that `locust -f` loads: developer classes, shapes, options. Wiring, no arithmetic."""
