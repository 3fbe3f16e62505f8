"""Tests of atq-load-test.sh against a simulated Director. Needs sh, curl, jq and BusyBox."""

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import unittest
import zipfile
import xml.etree.ElementTree as Xml
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "atq-load-test.sh"
DEFINITION = {"name": "small", "master": {"alias": "m"}, "worker": {"alias": "w", "fileid": "other"}}
SECRET = "S3cretS3cretS3cretS3cretS3cretS3cretS3cretS3c"[:43]
TOKEN = f"atq_01020304ff_{SECRET}"
PASS = {"status": "finished", "step": "done", "verdict": "pass"}
CRITERIA = {"criteria": [
    {"criterion": "p95 < 500ms", "holds": False, "seen": '612 ms of "<all>"', "wanted": "< 500 ms"},
    {"criterion": "errors = 0", "holds": True, "seen": "0", "wanted": "= 0"},
]}


def failed(code, **more):
    return {"status": "errored", "step": "done", "verdict": "invalid",
            "failure": {"step": "running", "code": code, "message": f"it was {code}", "hint": "look there"}, **more}


def restore_signals():
    """Some runners start the tests in the background or with `nohup`, so that child processes ignore these signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Director:
    """A simulated Director. Returns its responses in order and repeats the last one; a response is a status and a body."""

    def __init__(self, tasks=(PASS,), put=None, upload=(200, {"id": "b1"}), existing=None):
        self.tasks = [task if isinstance(task, tuple) else (200, task) for task in tasks]
        self.put = put or [(200, {"id": "small", "status": "initializing"})]
        self.upload = upload
        self.existing = existing
        self.calls, self.bodies, self.users, self.tokens, self.files = [], [], [], [], {}
        self.queries, self.keys = {}, []
        self.stopped = threading.Event()
        self.polled = threading.Event()

    def respond(self, method, path, accept):
        if (method, path) == ("POST", "/databind/upload"):
            return self.upload
        if (method, path) == ("PUT", "/task"):
            return self.put.pop(0) if len(self.put) > 1 else self.put[0]
        name, _, rest = path.removeprefix("/task/").partition("/")
        if method == "DELETE":
            self.existing = None
            return 204, None
        if rest == "stop":
            self.stopped.set()
            return 202, {"id": name}
        if rest:
            return self.files.get((rest, "html" if "html" in accept else ""), (404, {"error": "there is none", "code": "no_results"}))
        if self.existing:
            return 200, {"id": name, **self.existing}
        if self.stopped.is_set():
            return 200, {"id": name, "status": "stopped", "step": "done", "verdict": "invalid"}
        status, body = self.tasks.pop(0) if len(self.tasks) > 1 else self.tasks[0]
        self.polled.set()
        return status, {"id": name, **body} if isinstance(body, dict) else body


class RedirectingServer(Director):
    """Redirects every request."""

    def __init__(self, code, path=None):
        super().__init__()
        self.code, self.path, self.to = code, path, None

    def respond(self, method, path, accept):
        return self.code, None

    def location(self, path):
        return self.to + (self.path or path)


def handler(director):
    class Handler(BaseHTTPRequestHandler):
        def serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.path, _, query = self.path.partition("?")
            director.calls.append(f"{self.command} {self.path}")
            director.queries[self.command] = query
            if self.command != "GET" and self.path.startswith("/task"):
                director.keys.append(self.headers.get("Idempotency-Key"))
            director.bodies.append(body)
            director.users.append(self.headers.get("Authorization", ""))
            director.tokens.append(self.headers.get("X-Atq-Token", ""))
            status, response = director.respond(self.command, self.path, self.headers.get("Accept", ""))
            if status is None:
                return  # Closes the connection without a response.
            data = response if isinstance(response, bytes) else json.dumps(response).encode() if response is not None else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if isinstance(director, RedirectingServer):
                self.send_header("Location", director.location(self.path))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = serve

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def serving(director):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(director))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class SocketServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def serving_socket(director, path):
    class Handler(handler(director)):
        def address_string(self):
            return "socket"

    server = SocketServer(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield "unix://" + str(path).replace(" ", "%20")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Client(unittest.TestCase):
    def setUp(self):
        self.held = tempfile.TemporaryDirectory()
        self.addCleanup(self.held.cleanup)
        self.dir = Path(self.held.name)
        self.temporary = self.dir / "tmp"
        self.temporary.mkdir()
        self.write(DEFINITION)

    unreachable_after = "0"
    environment = {}
    command = [SCRIPT]
    path = os.environ["PATH"]

    @contextlib.contextmanager
    def with_unreachable_after(self, seconds):
        self.unreachable_after = seconds
        try:
            yield
        finally:
            self.unreachable_after = "0"

    def write(self, definition):
        (self.dir / "task.json").write_text(definition if isinstance(definition, str) else json.dumps(definition))

    def start(self, url, *arguments):
        environment = {"PATH": self.path, "http_proxy": os.environ.get("http_proxy", ""), "ATQ_URL": url, "ATQ_POLL": "0.05", "ATQ_PATIENCE": self.unreachable_after,
                       "TMPDIR": str(self.temporary), "LC_ALL": "C.UTF-8", **self.environment}
        return subprocess.Popen([*self.command, *arguments], cwd=self.dir, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=restore_signals)

    def call(self, director, *arguments):
        with serving(director) as url, self.start(url, *arguments) as process:
            try:
                self.out, self.err = process.communicate(timeout=60)
            finally:
                process.kill()
        self.assertEqual(list(self.temporary.iterdir()), [], "temporary files are left")
        return process.returncode

    def run_task(self, director, *arguments):
        return self.call(director, "run", "task.json", *arguments)

    def sent(self, director):
        return json.loads(director.bodies[director.calls.index("PUT /task")])


class Outcomes(Client):
    def check(self, task, code, text):
        self.assertEqual(self.run_task(Director([task])), code, self.err)
        self.assertIn(text, self.out)

    def test_a_passed_test(self):
        steps = [{"status": "initializing", "step": "queued", "queuePosition": 2}, {"status": "started", "step": "running"},
                 {"status": "finished", "step": "report"}, PASS]
        self.assertEqual(self.run_task(Director(steps)), 0, self.err)
        self.assertIn("small: passed", self.out)
        for step in ("queued, place 2", "running", "report", "done"):
            self.assertIn(f"s  {step}\n", self.err)

    def test_exit_codes(self):
        self.check({**PASS, "verdict": "fail", "judgement": CRITERIA}, 1, "FAILED  p95 < 500ms")
        self.check({**PASS, "verdict": "invalid", "judgement": {"reasons": ["too few samples"]}}, 7, "too few samples")
        self.check(failed("master_exit"), 3, "it was master_exit")
        self.check(failed("docker_refused"), 4, "look there")
        self.check(failed("max_duration"), 5, "exceeded a time limit")
        for code in ("workers_timed_out", "master_timed_out"):
            self.check(failed(code), 5, "exceeded a time limit")
        self.check(failed("worker_lost"), 7, "inconclusive")
        self.check({"status": "finished", "step": "done", "criteria": ["p95 < 1s"]}, 7, "inconclusive")
        self.check({"status": "stopped", "step": "done"}, 6, "was stopped")

    def test_a_director_of_2018_without_steps_and_verdict(self):
        self.check({"status": "finished"}, 0, "passed")

    def test_a_task_that_could_not_start_has_status_500(self):
        self.check((500, failed("worker_failed")), 4, "it was worker_failed")

    def test_a_removed_task_is_reported(self):
        director = Director([{"status": "started", "step": "running"}, (404, {"error": "no", "code": "task_not_found"})])
        self.assertEqual(self.run_task(director), 6)
        self.assertIn("was removed while it ran", self.err)

    def test_an_unreachable_director_is_reported(self):
        director = Director([{"status": "started", "step": "running"}, (None, None)])
        self.assertEqual(self.run_task(director), 9)
        self.assertIn("does not respond any more", self.err)

    def test_a_timeout_stops_the_task(self):
        director = Director([{"status": "started", "step": "running"}])
        self.assertEqual(self.run_task(director, "--timeout", "1s", "--junit", "j.xml"), 5)
        self.assertIn("POST /task/small/stop", director.calls)
        self.assertEqual(Xml.parse(self.dir / "j.xml").getroot().get("errors"), "1")


class Rejections(Client):
    def test_an_invalid_definition(self):
        director = Director(put=[(417, {"error": "`worker.image` is missing"})])
        self.assertEqual(self.run_task(director), 8)
        self.assertIn("`worker.image` is missing", self.err)
        self.assertFalse(director.stopped.is_set())

    def test_a_director_without_docker(self):
        self.assertEqual(self.run_task(Director(put=[(503, {"error": "no Docker"})])), 4)
        self.assertIn("no Docker", self.err)

    def test_an_error_page_of_a_proxy(self):
        self.assertEqual(self.run_task(Director(put=[(502, b"<html>\nbad gateway")])), 4)
        self.assertIn("bad gateway", self.err)

    def test_a_rejected_bundle(self):
        (self.dir / "b.zip").write_bytes(b"PK")
        director = Director(upload=(422, {"error": "a broken archive"}))
        self.assertEqual(self.run_task(director, "--bundle", "b.zip"), 8)
        self.assertNotIn("PUT /task", director.calls)

    def test_no_director(self):
        with serving(Director()) as url:
            pass
        with self.start(url, "run", "task.json") as process:
            self.assertEqual(process.wait(60), 9)
            self.assertIn("does not respond", process.stderr.read())

    def test_a_start_without_a_response_is_retried(self):
        director = Director(put=[(None, None), (200, {"id": "small", "status": "started"})])
        self.assertEqual(self.run_task(director), 0, self.err)
        self.assertEqual(director.calls.count("PUT /task"), 2)


class CommandLine(Client):
    def usage(self, text, *arguments):
        director = Director()
        self.assertEqual(self.call(director, *arguments), 2, self.out)
        self.assertIn(text, self.err)
        self.assertEqual(director.calls, [])

    def test_usage_errors(self):
        self.usage("unknown command `go`", "go")
        self.usage("the definition is missing", "run")
        self.usage("`no.json` cannot be read", "run", "no.json")
        self.usage("unknown option `--gitlab`", "run", "task.json", "--gitlab", "x")
        self.usage("--name needs a value", "run", "task.json", "--name")
        self.usage("unexpected argument", "run", "task.json", "other.json")
        self.usage("`a/b` cannot be the name", "run", "task.json", "--name", "a/b")
        self.usage("`soon` of --timeout", "run", "task.json", "--timeout", "soon")
        self.usage("`30` of --timeout", "run", "task.json", "--timeout=30")
        self.usage("has no `=`", "run", "task.json", "--set", "worker")
        self.usage("--set `name.x`", "run", "task.json", "--set", "name.x=1")
        self.usage("bundle `no.zip` cannot be read", "run", "task.json", "--bundle", "no.zip")

    def test_a_definition_that_is_not_json(self):
        for text in ("name: small", "[]", ""):
            self.write(text)
            self.usage("is not a JSON object", "run", "task.json")

    def test_options_change_the_definition(self):
        self.write({**DEFINITION, "criteria": ["errors = 0"], "worker": {"environment": ["A=old", "AB=kept"]}})
        odd = 'it\'s "$HOME" `id` \\n *'
        director = Director()
        code = self.run_task(director, "--set", "worker.replicas=5", "--set=master.args.1=-x", f"--set=master.alias={odd}",
                             "--env", f"A={odd}=1", "--criterion", "p95 < 500ms", "--name", "other-1")
        self.assertEqual(code, 0, self.err)
        self.assertEqual(self.sent(director), {
            "name": "other-1", "criteria": ["errors = 0", "p95 < 500ms"],
            "master": {"alias": odd, "args": [None, "-x"], "environment": [f"A={odd}=1"]},
            "worker": {"replicas": 5, "environment": ["AB=kept", f"A={odd}=1"]},
        })
        self.assertIn("GET /task/other-1", director.calls)

    def test_text_fields_stay_text(self):
        director = Director()
        self.assertEqual(self.run_task(
            director, "--set", "name=20261128", "--set", "worker.labels.build=0123", "--set", "worker.labels.commit=12e4",
            "--set", "master.args.0=true", "--set", "worker.user=1000", "--set", 'criteria=["errors = 0"]',
            "--set", 'master.args.1="20"', "--set", "worker.replicas=5"), 0, self.err)
        sent = self.sent(director)
        self.assertEqual(sent["name"], "20261128")
        self.assertEqual(sent["criteria"], ["errors = 0"])
        self.assertEqual(sent["master"]["args"], ["true", "20"])
        self.assertEqual(sent["worker"]["labels"], {"build": "0123", "commit": "12e4"})
        self.assertEqual((sent["worker"]["user"], sent["worker"]["replicas"]), ("1000", 5))

    def test_a_password_in_the_url_is_sent_but_not_shown(self):
        for given, wanted in (("ci:s3cr%40t", "ci:s3cr@t"), ('ci:s"3\\cr', 'ci:s"3\\cr'), ("ci", "ci:")):
            director = Director()
            with serving(director) as url:
                url = url.replace("://", f"://{given}@")
                with self.start(url, "run", "task.json") as process:
                    process.communicate(timeout=60)
            self.assertEqual({base64.b64decode(a.removeprefix("Basic ")).decode() for a in director.users}, {wanted})
        with self.start("http://ci:s3cr%40t@127.0.0.1:1", "run", "task.json") as process:
            out, err = process.communicate(timeout=60)
        self.assertIn("the Director at `http://127.0.0.1:1` does not respond", err)
        self.assertNotIn("s3cr", out + err)

    def test_loopback_requests_use_no_proxy(self):
        os.environ["http_proxy"] = "http://127.0.0.1:1"
        self.addCleanup(os.environ.pop, "http_proxy")
        self.assertEqual(self.run_task(Director()), 0, self.err)

    def test_a_bundle_is_set_for_services_without_one(self):
        (self.dir / "b; c.zip").write_bytes(b"PK\x00the zip")
        director = Director()
        self.assertEqual(self.run_task(director, "--bundle", "b; c.zip"), 0, self.err)
        form = director.bodies[0]
        self.assertIn(b"PK\x00the zip", form)
        self.assertIn(b'name="file"; filename="bundle.zip"', form)
        self.assertEqual(self.sent(director)["master"]["fileid"], "b1")
        self.assertEqual(self.sent(director)["worker"]["fileid"], "other")

    def test_only_an_ended_task_is_replaced(self):
        director = Director(existing={"status": "errored"})
        self.assertEqual(self.run_task(director, "--replace"), 0, self.err)
        self.assertIn("DELETE /task/small", director.calls)
        director = Director(existing={"status": "started"}, put=[(409, {"error": "it runs"})])
        self.assertEqual(self.run_task(director, "--replace"), 8)
        self.assertFalse({"DELETE /task/small", "POST /task/small/stop"} & set(director.calls))

    def test_stop(self):
        director = Director()
        self.assertEqual(self.call(director, "stop", "small"), 0, self.err)
        self.assertEqual(director.calls, ["POST /task/small/stop"])


class Outputs(Client):
    def test_junit_has_a_case_for_each_criterion(self):
        task = {**PASS, "verdict": "fail", "judgement": CRITERIA}
        self.assertEqual(self.run_task(Director([task]), "--junit", "out/j.xml"), 1)
        suite = Xml.parse(self.dir / "out/j.xml").getroot()
        self.assertEqual([suite.get(name) for name in ("tests", "failures", "errors")], ["3", "1", "0"])
        run, failed_case, passed_case = suite.findall("testcase")
        self.assertEqual(failed_case.get("name"), "p95 < 500ms")
        self.assertEqual(failed_case.find("failure").get("message"), '612 ms of "<all>", wanted < 500 ms')
        self.assertEqual([len(run), len(passed_case)], [0, 0])

    def test_junit_of_a_failed_run(self):
        task = failed("master_exit", exitCode=1)
        task["failure"]["message"] = "\x1b[31m<&\"'>"
        self.assertEqual(self.run_task(Director([task]), "--junit=j.xml"), 3)
        message = Xml.parse(self.dir / "j.xml").find("testcase/error").get("message")
        self.assertEqual(message, "the test tool failed: ?[31m<&\"'>")

    def test_a_reason_that_repeats_the_failure_is_shown_once(self):
        task = failed("worker_failed", judgement={"reasons": ["the run failed in the step `workers`: it was worker_failed"]})
        self.assertEqual(self.run_task(Director([task]), "--junit=j.xml"), 4)
        self.assertEqual(self.out.count("it was worker_failed"), 1)
        message = Xml.parse(self.dir / "j.xml").find("testcase/error").get("message")
        self.assertEqual(message.count("it was worker_failed"), 1)

    def test_evidence_is_downloaded(self):
        director = Director()
        director.files = {("report", ""): (200, {"a": 1}), ("report", "html"): (200, b"<html>"), ("logs", ""): (200, b"line")}
        self.assertEqual(self.run_task(director, "--results", "out"), 0, self.err)
        kept = {file.name: file.read_bytes() for file in (self.dir / "out").iterdir()}
        self.assertEqual(set(kept), {".atq-files", "task.json", "report.json", "report.html", "logs.txt"})
        self.assertEqual(kept["report.html"], b"<html>")
        self.assertIn("no results.zip (404)", self.err)

    def test_foreign_files_are_not_replaced(self):
        out = self.dir / "out"
        (out / "results/master.1").mkdir(parents=True)
        (out / "results/master.1/r.csv").write_text("mine")
        (out / "results/baseline.csv").write_text("mine")
        (out / "notes").write_text("mine")
        director = Director()
        for number, names in enumerate((["master.1/r.csv", "worker.9/old"], ["master.1/r.csv", "worker.1/new"])):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for name in names:
                    archive.writestr(name, f"run {number}")
            director.files = {("results", ""): (200, packed.getvalue()), ("report", "html"): (200, b"%d" % number)}
            self.assertEqual(self.run_task(director, "--results", "out", "--junit", "out/junit.xml"), 0, self.err)
            self.assertIn("`results/master.1/r.csv` exists", self.err)
        seen = {str(file.relative_to(out)): file.read_text() for file in out.rglob("*")
                if file.is_file() and file.suffix not in (".zip", ".json", ".xml") and file.name != ".atq-files"}
        self.assertEqual(seen, {"results/master.1/r.csv": "mine", "results/baseline.csv": "mine", "notes": "mine",
                                "results/worker.1/new": "run 1", "report.html": "1"})
        (out / "report.html").write_text("mine")
        director = Director()
        self.assertEqual(self.run_task(director, "--results", "out"), 2)
        self.assertIn("`out/report.html` was not written by this program", self.err)
        self.assertEqual((out / "report.html").read_text(), "mine")
        self.assertNotIn("PUT /task", director.calls)

    def test_outputs_are_checked_before_the_test(self):
        (self.dir / "file").write_text("")
        (self.dir / "dir").mkdir()
        for arguments in (("--results", "file"), ("--junit", "dir"), ("--junit", "file/x"), ("--results", "/proc/none")):
            director = Director()
            self.assertEqual(self.run_task(director, *arguments), 2, self.err)
            self.assertIn(arguments[1], self.err)
            self.assertEqual(director.calls, [])

    def test_an_output_that_cannot_be_written_does_not_affect_the_verdict(self):
        director = Director()
        director.files = {("report", "html"): (404, b"<h1>no</h1>"), ("logs", ""): (503, b"busy"), ("report", ""): (200, {})}
        self.assertEqual(self.run_task(director, "--results", "out", "--junit", "/dev/full"), 4)
        self.assertIn("small: passed", self.out)
        self.assertIn("report.html cannot be downloaded (404)", self.err)
        self.assertIn("`/dev/full` cannot be written", self.err)
        self.assertTrue((self.dir / "out/report.json").exists())

    def test_junit_is_valid_xml_for_any_message(self):
        task = failed("worker_failed")
        task["failure"]["message"] = "".join(map(chr, range(0x300))) + " \ufffe\uffff ]]> \U0001f600"
        self.assertEqual(self.run_task(Director([task]), "--junit=j.xml"), 4)
        Xml.parse(self.dir / "j.xml")


class Access(Client):
    """The token: how it is sent, and that no output contains it."""

    # Shows every command, like `sh -x` of a pipeline.
    def setUp(self):
        super().setUp()
        self.command = [*(["sh", "-x", SCRIPT] if self.command == [SCRIPT] else [self.command[0], "-x", SCRIPT])]
        self.environment = {"ATQ_TOKEN": TOKEN}

    def call(self, director, *arguments):
        code = super().call(director, *arguments)
        self.assertIn("+ ", self.err)
        self.assertNotIn(SECRET, self.out + self.err)
        return code

    def test_a_token_is_sent_with_every_request_and_never_shown(self):
        director = Director()
        director.files = {("report", ""): (200, {})}
        self.assertEqual(self.run_task(director, "--results", "out"), 0, self.err)
        self.assertEqual(set(director.users), {f"Bearer {TOKEN}"})
        self.assertEqual(set(director.tokens), {""})
        for file in (self.dir / "out").iterdir():
            self.assertNotIn(SECRET.encode(), file.read_bytes())

    def test_no_process_has_the_token_as_argument(self):
        director = Director([{"status": "started", "step": "running"}])
        seen = []
        respond = director.respond

        def spy(*request):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.append(path.read_bytes())
            return respond(*request)

        director.respond = spy
        self.assertEqual(self.run_task(director, "--timeout", "1s"), 5, self.err)
        self.assertTrue(any(b"curl" in line for line in seen))
        self.assertFalse(any(SECRET.encode() in line for line in seen))

    def test_a_token_file_is_read(self):
        (self.dir / "token").write_text(TOKEN + "\n")
        self.environment = {"ATQ_TOKEN_FILE": "token"}
        director = Director()
        self.assertEqual(self.run_task(director), 0, self.err)
        self.assertEqual(set(director.users), {f"Bearer {TOKEN}"})

    def test_a_malformed_token_is_a_usage_error_before_any_request(self):
        for token in (SECRET, f"atq_x_{SECRET}", TOKEN[:-1], f'{TOKEN}"', "Bearer " + TOKEN):
            self.environment = {"ATQ_TOKEN": token}
            director = Director()
            self.assertEqual(self.run_task(director), 2, self.err)
            self.assertIn("`ATQ_TOKEN` does not contain a token", self.err)
            self.assertEqual(director.calls, [])
        self.environment = {"ATQ_TOKEN_FILE": "/no/such/file"}
        self.assertEqual(self.run_task(Director()), 2, self.err)
        self.assertIn("`/no/such/file` cannot be read", self.err)

    def test_a_redirect_to_another_host_does_not_get_the_token(self):
        (self.dir / "b.zip").write_bytes(b"PK")
        director, redirector = Director(), RedirectingServer(307)
        with serving(director) as redirector.to, serving(redirector) as url:
            with self.start(url, "run", "task.json", "--bundle", "b.zip") as process:
                _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(redirector.users, [f"Bearer {TOKEN}"])
        self.assertEqual(set(director.users + director.tokens), {""})

    def test_a_password_for_a_proxy_and_a_token_have_headers_of_their_own(self):
        director = Director()
        with serving(director) as url:
            with self.start(url.replace("://", "://ci:pw@"), "run", "task.json") as process:
                process.communicate(timeout=60)
        self.assertEqual({base64.b64decode(a.removeprefix("Basic ")) for a in director.users}, {b"ci:pw"})
        self.assertEqual(set(director.tokens), {TOKEN})

    def test_denied_access_has_its_own_exit_code(self):
        for status, code, hint in ((401, "unauthenticated", "set ATQ_TOKEN"), (403, "forbidden", "ask an administrator")):
            director = Director(put=[(status, {"error": "the role runner is required", "code": code})])
            self.assertEqual(self.run_task(director), 10, self.err)
            self.assertIn("the role runner is required", self.err)
            self.assertIn(hint, self.err)
            self.assertFalse(director.stopped.is_set())
        director = Director(put=[(403, {"error": "a page of another site", "code": "foreign_page"})])
        self.assertEqual(self.run_task(director), 8, self.err)
        director = Director(put=[(421, {"error": "not my name", "code": "foreign_host"})])
        self.assertEqual(self.run_task(director), 8, self.err)
        self.assertIn("allowedHosts", self.err)

    def test_a_token_that_expires_during_the_test_ends_it_at_once(self):
        director = Director([{"status": "started", "step": "running"}, (401, {"error": "expired", "code": "unauthenticated"})])
        with self.with_unreachable_after("60"):
            self.assertEqual(self.run_task(director), 10, self.err)
        self.assertIn("may still run", self.err)

    def test_a_unix_socket_is_used(self):
        director = Director()
        path = self.dir / "a b.sock"
        with serving_socket(director, path) as url, self.start(url, "run", "task.json") as process:
            out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn("PUT /task", director.calls)
        with self.start(f"unix://{self.dir}/none.sock", "run", "task.json") as process:
            out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 9, err)
        self.assertIn(f"the Director at `unix://{self.dir}/none.sock` does not respond", err)


class Gateways(Client):
    def test_a_busy_server_is_retried(self):
        director = Director(put=[(502, b"<h1>"), (429, b""), (200, {"id": "small", "status": "started"})])
        self.assertEqual(self.run_task(director), 0, self.err)

    def test_a_404_of_a_gateway_is_not_from_a_director(self):
        director = Director([(404, b"<h1>404</h1>"), PASS])
        with self.with_unreachable_after("60"):
            self.assertEqual(self.run_task(director), 0, self.err)
        self.assertEqual(self.run_task(Director(put=[(404, b"<h1>404</h1>")])), 8)
        self.assertIn("is not from a Director", self.err)

    def test_redirects_keep_method_and_body(self):
        (self.dir / "b.zip").write_bytes(b"PK\x00the zip")
        for code in (301, 302, 307, 308):
            director, redirector = Director(), RedirectingServer(code)
            with serving(director) as redirector.to, serving(redirector) as url:
                with self.start(url, "run", "task.json", "--bundle", "b.zip") as process:
                    out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertEqual(redirector.calls, ["POST /databind/upload"])
            self.assertIn(b"the zip", director.bodies[0])
            self.assertEqual(self.sent(director)["master"]["fileid"], "b1")

    def test_a_redirect_to_a_login_is_reported(self):
        redirector = RedirectingServer(302, "/login")
        redirector.to = "http://sso"
        with serving(redirector) as url, self.start(url, "run", "task.json") as process:
            out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 4, err)
        self.assertIn("redirects to `http://sso/login`", err)


class Signals(Client):
    def test_each_signal_stops_the_task(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            director = Director([{"status": "started", "step": "running"}])
            with serving(director) as url, self.start(url, "run", "task.json") as process:
                self.assertTrue(director.polled.wait(60))
                process.send_signal(number)
                try:
                    _, err = process.communicate(timeout=60)
                finally:
                    process.kill()
            self.assertEqual(process.returncode, 6, err)
            self.assertTrue(director.stopped.is_set(), number)
            # All requests of one run have the same key.
            self.assertEqual(len(set(director.keys)), 1, director.keys)
            self.assertRegex(director.keys[0], "^[0-9a-f]{32}$")
            self.assertEqual(list(self.temporary.iterdir()), [])

    def test_a_task_of_another_client_is_not_stopped(self):
        attached = {"id": "small", "status": "started", "startedBy": "other"}
        director = Director([{"status": "started", "step": "running"}], put=[(200, attached)])
        with serving(director) as url, self.start(url, "run", "task.json") as process:
            self.assertTrue(director.polled.wait(60))
            process.send_signal(signal.SIGTERM)
            try:
                _, err = process.communicate(timeout=60)
            finally:
                process.kill()
        self.assertEqual(process.returncode, 6, err)
        self.assertIn("started by another client", err)
        self.assertFalse(director.stopped.is_set())
        director = Director([{"status": "started", "step": "running"}], put=[(200, attached)])
        self.assertEqual(self.run_task(director, "--timeout", "1s"), 5, self.err)
        self.assertFalse(director.stopped.is_set())


class Limits(Client):
    def test_the_timeout_is_sent_with_the_definition(self):
        director = Director()
        self.assertEqual(self.run_task(director, "--timeout", "1h30m"), 0, self.err)
        self.assertEqual(director.queries["PUT"], "timeout=5400s")
        self.assertNotIn("timeout", self.sent(director))

    def test_exit_codes_of_the_directors_limits(self):
        self.assertEqual(self.run_task(Director([failed("timeout")])), 5)
        self.assertEqual(self.run_task(Director([failed("lease_expired")])), 6)


class Busybox:
    """Runs the script with BusyBox, curl and jq only, as in Alpine."""

    @classmethod
    def setUpClass(cls):
        programs = tempfile.TemporaryDirectory()
        cls.addClassCleanup(programs.cleanup)
        busybox = shutil.which("busybox")
        applets = subprocess.run([busybox, "--list"], check=True, text=True, stdout=subprocess.PIPE).stdout.split()
        found = {applet: busybox for applet in applets} | {name: shutil.which(name) for name in ("curl", "jq", "zip")}
        for name, program in found.items():
            if program:
                (Path(programs.name) / name).symlink_to(program)
        cls.path, cls.command = programs.name, [f"{programs.name}/ash", SCRIPT]


class OutcomesOnBusybox(Busybox, Outcomes):
    pass


class OutputsOnBusybox(Busybox, Outputs):
    pass


class AccessOnBusybox(Busybox, Access):
    pass


class SignalsOnBusybox(Busybox, Signals):
    pass


if __name__ == "__main__":
    unittest.main()
