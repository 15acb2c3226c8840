"""The hawkBit script in data/hawkbit, against a server that speaks the device's half of hawkBit (DDI)."""
import contextlib
import fcntl
import http.server
import json
import os
import re
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
from device import Device, need  # noqa: E402
from sentences import check, equal, main, sentence  # noqa: E402

SCRIPT = os.path.join(HERE, "..", "..", "data", "hawkbit", "fussy-hawkbit")
TOKEN = "d41d8cd98f00b204"


class Server(http.server.ThreadingHTTPServer):
    """One tenant with one device. An action stays open until its closing feedback has come, as with the real one."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.action, self.cancelled, self.artifacts, self.update = None, None, {}, "forced"
        self.feedback, self.data, self.requests = [], {}, []
        self.lose_closing_feedback = self.break_transfers = 0
        self.download_from = self.url
        self.wants_data = True

    def deploy(self, *packages):
        self.action = (self.action or 0) + 1
        self.artifacts = {}
        for package in packages:
            with open(package, "rb") as f:
                self.artifacts[os.path.basename(package)] = f.read()

    def told(self):
        return [f"{status['execution']}/{status['result']['finished']}" for _, status in self.feedback]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        s, base = self.server, "/DEFAULT/controller/v1/device-1"
        s.requests.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if not self.path.startswith("/cdn/") and self.headers.get("Authorization") != f"TargetToken {TOKEN}":
            return self.send_error(401)
        path = self.path.partition("?")[0]
        if path == base:
            links = {}
            if s.wants_data:
                links["configData"] = {"href": f"{s.url}{base}/configData"}
            if s.cancelled:
                links["cancelAction"] = {"href": f"{s.url}{base}/cancelAction/{s.cancelled}"}
            elif s.artifacts:
                links["deploymentBase"] = {"href": f"{s.url}{base}/deploymentBase/{s.action}?c=-2129030598"}
            self.answer({"config": {"polling": {"sleep": "00:05:00"}}, "_links": links})
        elif path == f"{base}/deploymentBase/{s.action}":
            artifacts = [
                {"filename": name, "size": len(content), "_links": {"download": {"href": f"{s.download_from}/cdn/{name}"}}}
                for name, content in s.artifacts.items()
            ]
            chunks = [{"part": "bApp", "version": "1", "name": "app", "artifacts": artifacts}]
            self.answer({"id": str(s.action), "deployment": {"download": "forced", "update": s.update, "chunks": chunks}})
        elif path == f"{base}/cancelAction/{s.cancelled}":
            self.answer({"id": str(s.cancelled), "cancelAction": {"stopId": str(s.action)}})
        elif path.startswith("/cdn/"):
            self.file(s.artifacts[os.path.basename(path)])
        else:
            self.send_error(404)

    def file(self, content):
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        offset = int(start.group(1)) if start else 0
        if offset >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - offset))
        if start:
            self.send_header("Content-Range", f"bytes {offset}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.server.break_transfers:
            self.server.break_transfers -= 1
            self.wfile.write(content[offset : offset + (len(content) - offset) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[offset:])

    def do_POST(self):
        s = self.server
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind, number = re.fullmatch(r".*/(deploymentBase|cancelAction)/(\d+)/feedback", self.path).groups()
        closes = sent["status"]["execution"] == "closed"
        if closes and s.lose_closing_feedback:
            s.lose_closing_feedback -= 1
            return self.send_error(503)
        s.feedback.append(((kind, number, sent["id"]), sent["status"]))
        if closes:
            s.artifacts, s.cancelled = {}, None
        self.answer({})

    def do_PUT(self):
        self.server.data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
        self.answer({})

    def answer(self, what):
        content = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/hal+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class HawkbitDevice(Device):
    def __init__(self):
        super().__init__()
        self.server = Server()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.configure()

    def configure(self, token=TOKEN, more=""):
        self.settings = self.write(
            "hawkbit.conf",
            f"url='{self.server.url}'\ncontroller=device-1\ntoken='{token}'\ntarget='{self.target}'\n"
            f"keyring='{self.keyring}'\nstate='{self.at('state')}'\nwait=0\n{more}",
        )

    def poll(self):
        return self.run(
            "sh", SCRIPT, env={"FUSSY_HAWKBIT_CONF": self.settings, "PATH": self.commands + os.pathsep + os.environ["PATH"]}
        )

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        super().close()


@sentence("a deployment is installed and reported, and the server hears which version runs")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"))
    done = t.poll()
    equal((done.code, t.live()), (0, "app-2"), done)
    equal(t.server.told(), ["proceeding/none", "closed/success"])
    equal([where for where, _ in t.server.feedback], [("deploymentBase", "1", "1")] * 2)
    equal(t.server.data, {"version": "app-2"})
    equal(sorted(os.listdir(t.at("state"))), ["outcome"], "no package stays behind")


@sentence("nothing on the server: nothing is done, and that is no error")
def _(t):
    t.server.wants_data = False
    done = t.poll()
    equal((done.code, done.out, done.err, t.server.feedback), (0, "", "", []))


@sentence("a failing .post-install is reported as a failure with what the hook said, and the version before runs")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2", post_install="#!/bin/sh\necho no such sensor\nexit 1\n"))
    done = t.poll()
    equal((done.code, t.live(), t.versions()), (3, "app-1", ["app-1"]), done)
    equal(t.server.told(), ["proceeding/none", "closed/failure"])
    check("no such sensor" in "\n".join(t.server.feedback[-1][1]["details"]), t.server.feedback)


@sentence("attack: a package of a stranger is reported as a failure and changes nothing")
def _(t):
    t.install("app-1")
    before = t.snapshot()
    t.server.deploy(t.package("app-2", signer=t.stranger))
    done = t.poll()
    equal(done.code, 20, done)
    equal(t.snapshot(), before)
    equal(t.server.told(), ["proceeding/none", "closed/failure"])


@sentence("a lost report is sent again, and nothing is installed twice")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"))
    t.server.lose_closing_feedback = 1
    check(t.poll().code != 0, "the lost report is an error of this run")
    equal(t.poll().code, 0)
    equal(t.server.told(), ["proceeding/none", "closed/success"])
    equal(t.versions(), ["app-1", "app-2"])


@sentence("a broken transfer goes on where it ended")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2", files={"app": os.urandom(300000)}))
    t.server.break_transfers = 1
    check(t.poll().code != 0, "the broken transfer is an error of this run")
    equal(t.live(), "app-1")
    done = t.poll()
    equal((done.code, t.live()), (0, "app-2"), done)
    ranges = [wanted for path, wanted, _ in t.server.requests if path.startswith("/cdn/")]
    check(ranges[0] is None and int(re.fullmatch(r"bytes=(\d+)-", ranges[1]).group(1)) > 100000, ranges)


@sentence("a piece that a power cut has spoilt is fetched once more, in one piece")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2", files={"app": os.urandom(300000)}))
    t.write("state/loading", "1\n")
    t.write("state/part", bytes(100000))
    equal(t.poll().code, 20)
    equal((t.poll().code, t.live()), (0, "app-2"))
    equal(t.server.told(), ["proceeding/none", "proceeding/none", "proceeding/none", "closed/success"])


@sentence("a busy target is tried again later; after some tries it is a failure")
def _(t):
    t.install("app-1")
    t.configure(more="tries=3\n")
    with contextlib.closing(open(os.path.join(t.target, ".fussy/lock"), "r+")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        t.server.deploy(t.package("app-2"))
        equal([t.poll().code for _ in range(2)], [2, 2])
    equal((t.poll().code, t.live()), (0, "app-2"))
    equal(t.server.told()[-1], "closed/success")
    with contextlib.closing(open(os.path.join(t.target, ".fussy/lock"), "r+")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        t.server.deploy(t.package("app-3"))
        equal([t.poll().code for _ in range(3)], [2, 2, 2])
    equal(t.server.told()[-1], "closed/failure")
    equal(t.poll().code, 0)
    equal(t.live(), "app-2")


@sentence("a cancelled action is given up, and that is said")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"))
    t.server.cancelled = 7
    done = t.poll()
    equal((done.code, t.live()), (0, "app-1"), done)
    equal(t.server.feedback[-1][0], ("cancelAction", "7", "1"))
    equal(t.server.told(), ["closed/success"])


@sentence("an update that the server wants skipped for now waits")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"))
    t.server.update = "skip"
    equal((t.poll().code, t.live(), t.server.feedback), (0, "app-1", []))
    t.server.update = "forced"
    equal((t.poll().code, t.live()), (0, "app-2"))


@sentence("attack: another host that packages are fetched from does not get the token")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"))
    t.server.download_from = t.server.url.replace("127.0.0.1", "localhost")
    done = t.poll()
    equal((done.code, t.live()), (0, "app-2"), done)
    equal([token for path, _, token in t.server.requests if path.startswith("/cdn/")], [None])


@sentence("gotcha: a deployment with two artifacts is refused with a reason")
def _(t):
    t.install("app-1")
    t.server.deploy(t.package("app-2"), t.package("app-3"))
    check(t.poll().code != 0, "two artifacts")
    equal((t.live(), t.server.told()[-1]), ("app-1", "closed/failure"))
    check("exactly one artifact" in t.server.feedback[-1][1]["details"][0], t.server.feedback)


@sentence("a wrong token and missing settings are errors with a reason")
def _(t):
    t.configure(token="wrong")
    done = t.poll()
    check(done.code != 0 and "401" in done.err, done)
    t.write("hawkbit.conf", "url=http://127.0.0.1\n")
    done = t.poll()
    check(done.code == 1 and "token is missing" in done.err, done)


need("curl", "jq")
main(HawkbitDevice)
