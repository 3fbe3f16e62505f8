"""Visitors of a web site: each asks for a page, thinks, and asks again."""

from locust import HttpUser, between, task


class Visitor(HttpUser):
    # Seconds between two requests of a visitor.
    wait_time = between(0.1, 0.5)

    # Three times as often as the other.
    @task(3)
    def home(self):
        self.client.get("/", name="home")

    @task
    def search(self):
        # `name` keeps all words under one label of the report.
        self.client.get("/?q=word", name="search")
