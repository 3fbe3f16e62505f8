"""What schemathesis cannot make up by itself: definitions that can run, zips, and what to accept."""

import io
import json
import zipfile
import zlib

import schemathesis
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.transport.serialization import Binary

# A master that is over at once, and an image that no node has: both are over soon.
IMAGES = ("atq-testload:dev", "atq-missing:1", "atq-missing:2")


def die(case, sides):
    """A number below `sides`, always the same for the same case."""
    sent = case.body.get("file", case.body) if isinstance(case.body, dict) else case.body
    sent = sent.data if isinstance(sent, Binary) else sent
    seed = repr((case.operation.label, sent, case.path_parameters, case.query))
    return zlib.crc32(seed.encode()) % sides


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Makes half of the valid definitions such that the Director can run them, and asks for every media
    type that an answer can have. Cases that are meant to be refused stay as they are."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    name = case.operation.definition.raw.get("operationId")
    # A chain of requests that begins with a refusal leads nowhere.
    chance = case.meta.phase.name == TestPhase.STATEFUL or die(case, 2)
    if name == "createTask" and isinstance(case.body, dict) and chance:
        case.body = runnable(case.body, IMAGES[die(case, len(IMAGES))])
    answers = case.operation.definition.raw["responses"].get("200", {}).get("content", {})
    if len(answers) > 1:
        case.headers["Accept"] = sorted(answers)[die(case, len(answers))]


@schemathesis.hook
def map_body(ctx, body):
    """Puts a zip where bytes were made up: later than this they would be taken for faulty ones. A body
    that is faulty otherwise stays so."""
    name = ctx.operation.definition.raw.get("operationId")
    if name == "uploadDatabind" and isinstance(body, dict) and isinstance(body.get("file"), Binary):
        number = zlib.crc32(body["file"].data)
        if number % 3:
            body = {**body, "file": Binary(bundle(number % 5))}
    return body


@schemathesis.hook
def filter_query(ctx, query):
    """An empty object or list is sent as nothing, and a parameter without a value counts as not given."""
    return not isinstance(query, dict) or not any(value in ({}, []) for value in query.values())


def runnable(body, image):
    """The generated definition with services that can be started and no more than a second to wait."""
    runs = {key: body[key] for key in ("name", "maxDuration", "minSamples", "exclusive", "onWorkerLoss", "delivery") if key in body}
    for role in ("master", "worker"):
        old = body.get(role, {})
        runs[role] = {key: old[key] for key in ("tty", "stopGracePeriod") if key in old}
        runs[role] |= {"alias": role, "image": image, "args": [role]}
    return runs | {"delay": min(int(body.get("delay", 0)), 1)}


def bundle(number):
    """One of a few zips; their ids are made of their content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("number"), str(number))
    return out.getvalue()


@schemathesis.deserializer("application/zip")
def unzip(ctx, response):
    """The schema of a zip is that of a string of bytes; that it is a zip is looked at here."""
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
    return "a zip"


@schemathesis.deserializer("application/x-ndjson")
def lines(ctx, response):
    """The schema of NDJSON is that of a line: the first faulty one, else any."""
    schema = {"$ref": "#/components/schemas/LogEntry", "components": ctx.operation.schema.raw_schema["components"]}
    read = [json.loads(line) for line in response.content.decode().splitlines()]
    valid = Draft202012Validator(schema).is_valid
    faulty = [line for line in read if not valid(line)]
    empty = {"at": "", "service": "", "replica": 0, "stream": "", "text": ""}
    return (faulty + read + [empty])[0]
