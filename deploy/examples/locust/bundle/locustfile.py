"""Visitors of a web site, who request pages with a think time in between."""

from locust import HttpUser, between, task


class Visitor(HttpUser):
    # Think time in seconds.
    wait_time = between(0.1, 0.5)

    # Three times as frequent as the other task.
    @task(3)
    def home(self):
        self.client.get("/", name="home")

    @task
    def search(self):
        # `name` groups all search terms under one label of the report.
        self.client.get("/?q=word", name="search")
