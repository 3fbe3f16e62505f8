"""Uploads a bundle, runs a task, reads what it left and deletes it, by the generated client alone.

usage: client.py DIRECTORY-OF-THE-CLIENT URL
Ends with 0 when everything was as the API's description says, and with a traceback otherwise.
"""

import io
import sys
import time
import zipfile

sys.path.insert(0, sys.argv[1])

from atq.api.databind import (
    delete_databind,
    get_databind,
    list_databind,
    upload_databind,
)
from atq.api.health import get_readiness
from atq.api.monitoring import ping
from atq.api.swarm import get_swarm
from atq.api.task import (
    create_task,
    delete_task,
    get_task,
    get_task_events,
    get_task_logs,
    get_task_manifest,
    get_task_report,
    get_task_results,
    list_tasks,
    stop_task,
)
from atq.client import Client
from atq.models import (
    BundleDetails,
    Problem,
    Report,
    ServicePayload,
    Step,
    SwarmDetails,
    Task,
    TaskAccepted,
    TaskPayload,
    TaskRefused,
    TaskStatus,
    Upload,
    UploadPayload,
    Verdict,
)
from atq.types import File

NAME = "stranger"
PATIENCE = 120.0


def zipped(**files):
    """A zip with these files, as bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def definition(image, fileid):
    return TaskPayload(
        name=NAME,
        worker=ServicePayload(alias="workers", image=image, args=["worker"], replicas=2, fileid=fileid),
        master=ServicePayload(alias="master", image=image, args=["master"]),
    )


def until_done(client):
    """The task once nothing more happens to it; each state on the way is one of the description's."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        task = get_task.sync(NAME, client=client)
        assert isinstance(task, Task), task
        if task.step == Step.DONE:
            return task
        time.sleep(0.1)
    raise AssertionError(f"not done after {PATIENCE} s: {task}")


def looks_around(client):
    assert ping.sync(client=client) == "pong"
    assert get_readiness.sync(client=client).ready
    swarm = get_swarm.sync(client=client)
    assert isinstance(swarm, SwarmDetails) and swarm.join_tokens.worker.startswith("SWMTKN-"), swarm


def uploads(client):
    bundle = zipped(hello="from a stranger\n")
    body = UploadPayload(file=File(io.BytesIO(bundle), "bundle.zip", "application/zip"))
    upload = upload_databind.sync(client=client, body=body)
    assert isinstance(upload, Upload), upload
    assert upload.id in [each.id for each in list_databind.sync(client=client)]
    held = get_databind.sync(upload.id, client=client)
    assert isinstance(held, BundleDetails) and [file.path for file in held.files] == ["hello"], held
    return upload.id


def is_refused(client):
    refused = create_task.sync(client=client, body=definition("NO IMAGE", "unknown"))
    assert isinstance(refused, TaskRefused), refused
    fields = {fault.field for fault in refused.errors}
    assert {"worker.image", "worker.fileid", "master.image"} <= fields, refused


def runs(client, fileid):
    accepted = create_task.sync(client=client, body=definition("atq-testload:dev", fileid))
    assert isinstance(accepted, TaskAccepted) and accepted.status == TaskStatus.INITIALIZING, accepted
    task = until_done(client)
    assert task.status == TaskStatus.FINISHED and task.exit_code == 0, task
    assert len({worker.address for worker in task.workers}) == 2, task
    assert [each.id for each in list_tasks.sync(client=client, status=TaskStatus.FINISHED).tasks] == [NAME]


def reads(client):
    history = get_task_events.sync(NAME, client=client)
    begun = [event.step for event in history.events if event.event == "stepStarted"]
    assert Step.NETWORK in begun and Step.RUNNING in begun, history
    rest = get_task_events.sync(NAME, client=client, after=history.events[-2].id)
    assert [event.id for event in rest.events] == [history.events[-1].id], rest
    log = get_task_logs.sync(NAME, client=client, service="master")
    assert " master.1 master done" in log, log
    report = get_task_report.sync(NAME, client=client)
    assert isinstance(report, Report) and report.task == NAME, report
    manifest = get_task_manifest.sync(NAME, client=client)
    assert manifest.definition.worker.replicas == 2, manifest
    results = get_task_results.sync(NAME, client=client)
    with zipfile.ZipFile(results.payload) as archive:
        assert "master.1/results.csv" in archive.namelist(), archive.namelist()


def cleans_up(client, fileid):
    # Of a task that is over, nothing changes.
    assert stop_task.sync(NAME, client=client).status == TaskStatus.FINISHED
    assert delete_task.sync_detailed(NAME, client=client).status_code == 204
    gone = get_task.sync(NAME, client=client)
    assert isinstance(gone, Problem) and gone.code == "task_not_found", gone
    assert delete_databind.sync_detailed(fileid, client=client).status_code == 204


def main():
    # An answer that the description does not know raises.
    client = Client(base_url=sys.argv[2], raise_on_unexpected_status=True, timeout=100)
    looks_around(client)
    fileid = uploads(client)
    is_refused(client)
    runs(client, fileid)
    reads(client)
    cleans_up(client, fileid)


main()
