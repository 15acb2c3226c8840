"""The Mender update module in data/mender, driven by a real mender-client in stand-alone mode, no server."""
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support"), os.path.join(ROOT, "tests", "docs")]
from device import Device, need  # noqa: E402
from markdown import blocks  # noqa: E402
from sentences import Skipped, check, equal, main, sentence  # noqa: E402

MODULE = os.path.join(ROOT, "data", "mender", "fussy")


def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def artifact(name, payloads, device_type="testdev", spoil=b""):
    """A Mender Artifact, format 3, as `mender-artifact write module-image -T fussy` makes one."""
    header = gzip.compress(
        tar(
            [
                (
                    "header-info",
                    json.dumps(
                        {
                            "payloads": [{"type": "fussy"}],
                            "artifact_provides": {"artifact_name": name},
                            "artifact_depends": {"device_type": [device_type]},
                        }
                    ).encode(),
                ),
                (
                    "headers/0000/type-info",
                    json.dumps(
                        {
                            "type": "fussy",
                            "artifact_provides": {"rootfs-image.fussy.version": name},
                            "clears_artifact_provides": ["rootfs-image.fussy.*"],
                        }
                    ).encode(),
                ),
                ("headers/0000/meta-data", b""),
            ]
        )
    )
    version = json.dumps({"format": "mender", "version": 3}).encode()

    def line(content, path):
        return f"{hashlib.sha256(content).hexdigest()}  {path}\n"

    manifest = "".join(line(content, f"data/0000/{file}") for file, content in payloads)
    manifest += line(header, "header.tar.gz") + line(version, "version")
    if spoil:
        payloads = [(file, content + spoil) for file, content in payloads]
    data = gzip.compress(tar(payloads))
    return tar([("version", version), ("manifest", manifest.encode()), ("header.tar.gz", header), ("data/0000.tar.gz", data)])


class MenderDevice(Device):
    """A device with a Mender client whose module and settings are visible to it alone (a mount namespace)."""

    def __init__(self):
        super().__init__()
        os.makedirs(self.at("mender/modules/v3"))
        shutil.copy(MODULE, self.at("mender/modules/v3/fussy"))
        self.write("mender/etc/artifact_info", "artifact_name=factory-0\n")
        self.write("mender/data/device_type", "device_type=testdev\n")
        self.write("mender/conf/mender.conf", "{}\n")
        self.settings = self.write(
            "mender/fussy.conf", f"target='{self.target}'\nkeyring='{self.keyring}'\nlogfile='{self.at('fussy.log')}'\n"
        )

    def mender_argv(self, *arguments):
        client = (
            "mount --bind \"$M/modules\" /usr/share/mender/modules && mount --bind \"$M/etc\" /etc/mender && "
            "exec mender --no-syslog --log-level info --data \"$M/data\" --config \"$M/conf/mender.conf\" "
            "--fallback-config /nonexistent \"$@\""
        )
        # Its own process namespace: killing its first process is what a power cut is to all of them.
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", client, "sh", *arguments]

    def mender_environment(self):
        return {
            "M": self.at("mender"),
            "FUSSY_MENDER_CONF": self.settings,
            "PATH": self.commands + os.pathsep + os.environ["PATH"],
        }

    def mender(self, *arguments):
        return self.run(*self.mender_argv(*arguments), env=self.mender_environment())

    def mender_install(self, name, **how):
        """Wraps the package of a version and gives it to the client."""
        with open(self.package(name, **how), "rb") as f:
            payloads = [(f"{name}.tar.gz.gpg", f.read())]
        return self.mender("install", self.write(f"{name}.mender", artifact(name, payloads)))

    def artifact(self):
        """The name of what the client believes to be installed."""
        return self.mender("show-artifact").out.strip()

    def provides(self):
        return dict(
            line.split("=", 1) for line in self.mender("show-provides").out.splitlines() if "=" in line
        )


@sentence("a good Artifact is installed, and committed on a person's word")
def _(t):
    t.install("app-1")
    done = t.mender_install("app-2")
    equal(done.code, 0, done)
    equal(t.live(), "app-2", done)
    done = t.mender("commit")
    equal(done.code, 0, done)
    equal(t.live(), "app-2")
    equal(t.artifact(), "app-2")
    equal(t.provides().get("rootfs-image.fussy.version"), "app-2")
    equal(t.versions(), ["app-1", "app-2"])


@sentence("Mender's log, which goes to the server when a deployment fails, says how far fussy is: unpacking, each hook, going back")
def _(t):
    t.install("app-1")
    done = t.mender_install("app-2", pre_install="#!/bin/sh\n", post_install="#!/bin/sh\nexit 1\n")
    lines = re.findall(r'Output \(stderr\) from command \\?".*?/fussy\\?": (fussy-install(?:-bytes)?: [a-z-]+)', done.err + done.out)
    wanted = [f"fussy-install-bytes: {step}" for step in ("unpacking", "syncing")]
    wanted += [f"fussy-install: {step}" for step in ("pre-install", "post-install", "restoring")]
    equal([line for line in lines if line in wanted], wanted, done)


@sentence("an Artifact made by mender-artifact, as docs/fleets.md says, is installed and committed")
def _(t):
    if not shutil.which("mender-artifact"):
        raise Skipped("mender-artifact is not installed")
    with open(os.path.join(ROOT, "docs", "fleets.md"), encoding="utf-8") as f:
        (command,) = [block.code for block in blocks(f.read()) if block.code.startswith("mender-artifact")]
    t.install("firmware-2.0")
    shutil.copy(t.package("firmware-2.1"), t.path)
    t.must("sh", "-euc", command)
    done = t.mender("install", t.at("app-2.1.mender"))
    equal((done.code, t.live()), (0, "firmware-2.1"), done)
    equal(t.mender("commit").code, 0)
    equal(t.artifact(), "app-2.1")


@sentence("a rollback before the commit brings the version before back, and removes the new one")
def _(t):
    t.install("app-1")
    t.mender_install("app-2")
    done = t.mender("rollback")
    equal(done.code, 0, done)
    equal(t.live(), "app-1", done)
    equal(t.versions(), ["app-1"], done)
    equal(t.artifact(), "factory-0")


@sentence("a rollback goes back to failsafe when the version before is gone")
def _(t):
    t.install("app-1")
    t.make_failsafe()
    t.mender_install("app-2")
    shutil.rmtree(os.path.join(t.target, "app-1"))
    done = t.mender("rollback")
    equal(done.code, 0, done)
    equal(t.live(), "failsafe", done)


@sentence("a failing .post-install makes the installation fail and leaves the version before running")
def _(t):
    t.install("app-1")
    done = t.mender_install("app-2", post_install="#!/bin/sh\necho no such sensor >&2\nexit 1\n")
    equal(done.code, 1, done)
    equal(t.live(), "app-1", done)
    equal(t.versions(), ["app-1"], done)
    check("no such sensor" in done.err + done.out, done)
    equal(t.artifact(), "factory-0")
    check(t.mender("commit").code == 2, "nothing may be left to commit")


@sentence("a failing .pre-install changes nothing that runs")
def _(t):
    t.install("app-1")
    done = t.mender_install("app-2", pre_install="#!/bin/sh\nexit 1\n")
    equal(done.code, 1, done)
    equal(t.live(), "app-1", done)
    equal(t.versions(), ["app-1"], done)


@sentence("the first version of a device can be installed; there is no way back from it")
def _(t):
    done = t.mender_install("app-1")
    equal(done.code, 0, done)
    equal(t.live(), "app-1")
    done = t.mender("rollback")
    equal(t.live(), "app-1", done)


@sentence("attack: a package signed by a stranger inside a good Artifact is refused")
def _(t):
    t.install("app-1")
    before = t.snapshot()
    done = t.mender_install("app-2", signer=t.stranger)
    equal(done.code, 1, done)
    equal(t.live(), "app-1")
    equal(t.snapshot(), before, "something changed although nothing was proven")


@sentence("attack: a package that is not the one the Artifact's manifest promises is removed again")
def _(t):
    t.install("app-1")
    with open(t.package("app-2"), "rb") as f:
        good = f.read()
    path = t.write("spoilt.mender", artifact("app-2", [("app-2.tar.gz.gpg", good)], spoil=b"x"))
    done = t.mender("install", path)
    equal(done.code, 1, done)
    equal(t.live(), "app-1")
    equal(t.versions(), ["app-1"], done)


@sentence("gotcha: an Artifact with two payload files is refused, and what came first is removed")
def _(t):
    t.install("app-1")
    payloads = []
    for name in ("app-2", "app-3"):
        with open(t.package(name), "rb") as f:
            payloads.append((f"{name}.tar.gz.gpg", f.read()))
    done = t.mender("install", t.write("two.mender", artifact("two", payloads)))
    equal(done.code, 1, done)
    equal(t.live(), "app-1")
    equal(t.versions(), ["app-1"], done)


@sentence("an Artifact for another device type changes nothing")
def _(t):
    t.install("app-1")
    with open(t.package("app-2"), "rb") as f:
        payloads = [("app-2.tar.gz.gpg", f.read())]
    done = t.mender("install", t.write("other.mender", artifact("app-2", payloads, device_type="fridge")))
    equal(done.code, 1, done)
    equal(t.versions(), ["app-1"])


def wait_for_hook(client, marker):
    deadline = time.monotonic() + 60
    while not os.path.exists(marker):
        check(time.monotonic() < deadline and client.poll() is None, "the hook never ran")
        time.sleep(0.02)


def cut_during_install(t, hook):
    """Everything of the client dies at once while `hook` of the new version runs."""
    t.install("app-1")
    marker = t.at("hook-runs")
    script = f"#!/bin/sh\n[ -e '{marker}' ] && exit 0\ntouch '{marker}'\nsleep 60\n"
    with open(t.package("app-2", **{hook: script}), "rb") as f:
        path = t.write("app-2.mender", artifact("app-2", [("app-2.tar.gz.gpg", f.read())]))
    environment = dict(os.environ, **t.mender_environment())
    client = subprocess.Popen(
        t.mender_argv("install", path), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_hook(client, marker)
    client.send_signal(signal.SIGKILL)  # --kill-child: the namespace, and so all in it, goes with it
    client.wait()  # for the first process only: the lock is free when the last one is gone, so what follows waits for it


def after_the_cut(t):
    """What a device does when power is back: recovery at boot, then what Mender's states would be given."""
    t.must("fussy-recover", "-t", t.target, "--wait", "30")
    tree = t.at("mender/data/modules/v3/payloads/0000/tree")
    check(os.path.isdir(tree), "the client keeps the tree of an update in flight")
    for state in ("ArtifactRollback", "ArtifactRollback", "ArtifactFailure", "Cleanup", "Cleanup"):
        done = t.run("sh", MODULE, state, tree, env=t.mender_environment(), cwd=tree)
        equal(done.code, 0, f"{state}: {done}")


@sentence("a power cut in ArtifactInstall, .post-install running: ArtifactRollback brings the version before back")
def _(t):
    cut_during_install(t, "post_install")
    equal(t.live(), "app-2", "the cut came after the switch")
    after_the_cut(t)
    equal(t.live(), "app-1")
    equal(t.versions(), ["app-1"])


@sentence("a power cut in ArtifactInstall, .pre-install running: the version before never stopped being live")
def _(t):
    cut_during_install(t, "pre_install")
    equal(t.live(), "app-1")
    after_the_cut(t)
    equal(t.live(), "app-1")
    equal(t.versions(), ["app-1"])


@sentence("the client alone is killed in ArtifactInstall: ArtifactRollback waits for the hook that still runs, then goes back")
def _(t):
    t.install("app-1")
    marker = t.at("hook-runs")
    with open(t.package("app-2", post_install=f"#!/bin/sh\ntouch '{marker}'\nsleep 2\n"), "rb") as f:
        path = t.write("app-2.mender", artifact("app-2", [("app-2.tar.gz.gpg", f.read())]))
    no_processes_of_its_own = [a for a in t.mender_argv("install", path) if a not in ("--pid", "--fork", "--kill-child", "--mount-proc")]
    client = subprocess.Popen(
        no_processes_of_its_own, env=dict(os.environ, **t.mender_environment()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_hook(client, marker)
    client.kill()
    client.wait()
    equal(t.live(), "app-2", "the module was to be killed with the client")
    tree = t.at("mender/data/modules/v3/payloads/0000/tree")
    for state in ("ArtifactRollback", "ArtifactFailure", "Cleanup"):
        done = t.run("sh", MODULE, state, tree, env=t.mender_environment(), cwd=tree)
        equal(done.code, 0, f"{state}: {done}")
    equal(t.live(), "app-1")
    equal(t.versions(), ["app-1"])


@sentence("after a power cut in ArtifactInstall the client can install again")
def _(t):
    cut_during_install(t, "post_install")
    t.must("fussy-recover", "-t", t.target, "--wait", "30")
    t.mender("rollback")
    done = t.mender_install("app-3")
    equal(done.code, 0, done)
    equal(t.live(), "app-3", done)
    equal(t.mender("commit").code, 0)


@sentence("the module answers what it is asked and is silent about states it does not know")
def _(t):
    os.makedirs(t.at("tree/tmp"))

    def ask(state):
        return t.run("sh", MODULE, state, t.at("tree"), env=t.mender_environment(), cwd=t.at("tree"))

    for state, answer in (
        ("SupportsRollback", "No\n"),
        ("NeedsArtifactReboot", "No\n"),
        ("ProvidePayloadFileSizes", "No\n"),
        ("ArtifactFailure", ""),
        ("Cleanup", ""),
        ("SupportsAugmentedArtifacts", ""),
        ("StateOfTheFuture", ""),
    ):
        done = ask(state)
        equal((done.code, done.out), (0, answer), state)
    t.install("app-1")
    equal(ask("SupportsRollback").out, "Yes\n")
    check(ask("ArtifactCommit").code != 0, "nothing was installed, so nothing can be committed")


need("mender", "unshare")
main(MenderDevice)
