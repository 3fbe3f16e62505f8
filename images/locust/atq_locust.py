"""Runs Locust with changes of the master: its files have the requests that end last, and are readable while it runs.

Locust's own master allows the workers half a second for their last report, writes its CSV files once a second and not
at its end, and flushes them less often.
"""

import json
import sys

import gevent
from locust import events, main, stats
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner

RESULTS = "/atq/results/locust.json"
# Seconds beyond `--stop-timeout`, which the workers need to end their users.
REPORT_TIMEOUT = 10


def reporting(master):
    """The workers that will still send their last report."""
    return [client for client in master.clients.all if client.state != STATE_MISSING]


def quit_after_last_reports(master):
    """A worker sends its last report before it quits."""
    master.stop(send_stop_to_client=False)
    for client in reporting(master):
        master.server.send_to_client(Message("quit", None, client.id))
    limit = master.environment.stop_timeout + REPORT_TIMEOUT
    with gevent.Timeout(limit, False):
        while reporting(master):
            gevent.sleep(0.05)
    missing = ", ".join(client.id for client in reporting(master))
    if missing:
        print(f"atq: no last report within {limit} s, so the last requests are missing: {missing}", file=sys.stderr)
    master.greenlet.kill(block=True)


def write_last_figures(master):
    """Writes what `--json-file` would, but keeps the printed summary, and the figures for the HTML page."""
    entries = [entry.serialize() for entry in master.stats.entries.values() if entry.num_requests or entry.num_failures]
    with open(RESULTS, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=4)
    # The CSV files are written once more.
    gevent.sleep(stats.CSV_STATS_INTERVAL_SEC * 1.2)


@events.init.add_listener
def on_init(runner, **_):
    if isinstance(runner, MasterRunner):
        events.quit.add_listener(lambda **_: write_last_figures(runner))


if __name__ == "__main__":
    MasterRunner.quit = quit_after_last_reports
    stats.CSV_STATS_FLUSH_INTERVAL_SEC = 0
    main.main()
