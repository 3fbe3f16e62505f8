"""A load that grows in steps: LOCUST_LOCUSTFILE=/atq/data/locustfile.py,/atq/data/shape.py uses it.

It replaces LOCUST_USERS, LOCUST_SPAWN_RATE and LOCUST_RUN_TIME.
"""

from locust import LoadTestShape


class Steps(LoadTestShape):
    # End of the step in seconds, users, users started per second.
    steps = [(3, 4, 4), (6, 12, 8), (9, 20, 8)]

    def tick(self):
        now = self.get_run_time()
        for end, users, spawn_rate in self.steps:
            if now < end:
                return users, spawn_rate
        return None
