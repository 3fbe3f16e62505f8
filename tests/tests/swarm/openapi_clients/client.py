"""Uploads a bundle, runs a task, reads its evidence and deletes it, with the generated client only.

usage: client.py DIRECTORY-OF-THE-CLIENT URL
Exits with 0 when everything conforms to the API's description, otherwise with a traceback.
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

NAME = "openapi-client"
TIMEOUT = 120.0


def zipped(**files):
    """Returns a zip with these files, as bytes."""
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
    """Returns the task in the step `done`; each earlier response must conform to the description, too."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        task = get_task.sync(NAME, client=client)
        assert isinstance(task, Task), task
        if task.step == Step.DONE:
            return task
        time.sleep(0.1)
    raise AssertionError(f"not done after {TIMEOUT} s: {task}")


def check_service(client):
    assert ping.sync(client=client) == "pong"
    assert get_readiness.sync(client=client).ready
    swarm = get_swarm.sync(client=client)
    assert isinstance(swarm, SwarmDetails) and swarm.join_tokens.worker.startswith("SWMTKN-"), swarm


def upload_bundle(client):
    bundle = zipped(hello="from a generated client\n")
    body = UploadPayload(file=File(io.BytesIO(bundle), "bundle.zip", "application/zip"))
    upload = upload_databind.sync(client=client, body=body)
    assert isinstance(upload, Upload), upload
    assert upload.id in [each.id for each in list_databind.sync(client=client)]
    held = get_databind.sync(upload.id, client=client)
    assert isinstance(held, BundleDetails) and [file.path for file in held.files] == ["hello"], held
    return upload.id


def check_rejection(client):
    rejected = create_task.sync(client=client, body=definition("NO IMAGE", "unknown"))
    assert isinstance(rejected, TaskRefused), rejected
    fields = {fault.field for fault in rejected.errors}
    assert {"worker.image", "worker.fileid", "master.image"} <= fields, rejected


def run_task(client, fileid):
    accepted = create_task.sync(client=client, body=definition("atq-testload:dev", fileid))
    assert isinstance(accepted, TaskAccepted) and accepted.status == TaskStatus.INITIALIZING, accepted
    task = until_done(client)
    assert task.status == TaskStatus.FINISHED and task.exit_code == 0, task
    assert len({worker.address for worker in task.workers}) == 2, task
    assert [each.id for each in list_tasks.sync(client=client, status=TaskStatus.FINISHED).tasks] == [NAME]


def read_evidence(client):
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


def clean_up(client, fileid):
    # A stop of an ended task changes nothing.
    assert stop_task.sync(NAME, client=client).status == TaskStatus.FINISHED
    assert delete_task.sync_detailed(NAME, client=client).status_code == 204
    gone = get_task.sync(NAME, client=client)
    assert isinstance(gone, Problem) and gone.code == "task_not_found", gone
    assert delete_databind.sync_detailed(fileid, client=client).status_code == 204


def main():
    # A response that is not in the description raises an exception.
    client = Client(base_url=sys.argv[2], raise_on_unexpected_status=True, timeout=100)
    check_service(client)
    fileid = upload_bundle(client)
    check_rejection(client)
    run_task(client, fileid)
    read_evidence(client)
    clean_up(client, fileid)


main()
