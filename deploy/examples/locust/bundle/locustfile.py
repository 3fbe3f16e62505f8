"""Visitors of a web site, who request pages with a think time in between."""

import os

from locust import FastHttpUser, HttpUser, between, task

# Set it with `atq run -e TOKEN`, which takes the value from the shell.
HEADERS = {"Authorization": "Bearer " + os.environ.get("TOKEN", "")}


class Visitor(HttpUser):
    # Think time in seconds.
    wait_time = between(0.1, 0.5)

    # Three times as frequent as the other task.
    @task(3)
    def home(self):
        self.client.get("/", name="home", headers=HEADERS)

    @task
    def search(self):
        # `name` groups all search terms under one label of the report.
        self.client.get("/?q=word", name="search", headers=HEADERS)


class Reader(FastHttpUser):
    """FastHttpUser needs less CPU time for a request than HttpUser."""

    wait_time = between(0.1, 0.5)

    @task
    def home(self):
        self.client.get("/", name="home (fast)", headers=HEADERS)
