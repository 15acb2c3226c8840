"""The RAUC hook in data/rauc, called by a real RAUC service on a private message bus."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
from device import Device, need, signing_certificate  # noqa: E402
from sentences import check, equal, main, sentence  # noqa: E402

HOOK = os.path.join(HERE, "..", "..", "data", "rauc", "fussy-hook")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""

SYSTEM = """[system]
compatible=testdev
bootloader=noop
statusfile={work}/rauc/status
mountprefix={work}/rauc/mnt
[keyring]
path={certificate}
[slot.rootfs.0]
device=/dev/null
type=raw
bootname=system0
[slot.app.0]
device={target}
type=raw
"""

MANIFEST = """[update]
compatible=testdev
version=2
[bundle]
format=plain
[hooks]
filename=fussy-hook
hooks={hooks}
[image.app]
filename={image}
hooks=install
"""


class RaucDevice(Device):
    def __init__(self):
        super().__init__()
        self.certificate, self.key = signing_certificate()
        os.makedirs(self.at("rauc/mnt"))
        self.system = self.write(
            "rauc/system.conf", SYSTEM.format(work=self.path, target=self.target, certificate=self.certificate)
        )
        self.settings = self.write("rauc/fussy.conf", f"keyring='{self.keyring}'\nlogfile='{self.at('fussy.log')}'\n")

    def bundle(self, package, hooks=""):
        content = self.at("rauc/content")
        shutil.rmtree(content, ignore_errors=True)
        os.makedirs(content)
        image = os.path.basename(package)
        shutil.copy(package, content)
        shutil.copy(HOOK, content)
        self.write("rauc/content/manifest.raucm", MANIFEST.format(image=image, hooks=hooks))
        made = self.at("rauc", image + ".raucb")
        self.must("rauc", "--cert", self.certificate, "--key", self.key, "bundle", content, made)
        return made

    @contextlib.contextmanager
    def service(self):
        """A bus and RAUC's service on it, both gone afterwards."""
        socket = self.at("rauc/bus")
        bus_config = self.write("rauc/bus.conf", BUS.format(socket=socket))
        environment = dict(
            os.environ,
            DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={socket}",
            FUSSY_RAUC_CONF=self.settings,
            PATH=self.commands + os.pathsep + os.environ["PATH"],
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        bus = subprocess.Popen(["dbus-daemon", "--nofork", f"--config-file={bus_config}"], **quiet)
        service = None
        try:
            self.wait_for(lambda: os.path.exists(socket), "the message bus did not start")
            with open(self.at("rauc/log"), "wb") as log:
                service = subprocess.Popen(
                    ["rauc", "-c", self.system, "--override-boot-slot=system0", "service"],
                    env=environment, stdout=log, stderr=log,
                )
            self.wait_for(
                lambda: subprocess.run(["rauc", "-c", self.system, "status"], env=environment, **quiet).returncode == 0,
                "the RAUC service did not start",
            )
            yield environment
        finally:
            for process in (service, bus):
                if process:
                    process.terminate()
                    process.wait()

    @staticmethod
    def wait_for(condition, otherwise):
        deadline = time.monotonic() + 30
        while not condition():
            check(time.monotonic() < deadline, otherwise)
            time.sleep(0.05)

    def rauc_install(self, bundle):
        with self.service() as environment:
            done = self.run("rauc", "-c", self.system, "install", bundle, env=environment)
        with open(self.at("rauc/log"), errors="replace") as log:
            done.err += log.read()
        return done


@sentence("a bundle with a package in it installs the version into the target that is the slot's device")
def _(t):
    t.install("app-1")
    done = t.rauc_install(t.bundle(t.package("app-2")))
    equal(done.code, 0, done)
    equal(t.live(), "app-2", done)
    equal(t.versions(), ["app-1", "app-2"])


@sentence("a failing .post-install makes RAUC's installation fail, and the version before runs")
def _(t):
    t.install("app-1")
    done = t.rauc_install(t.bundle(t.package("app-2", post_install="#!/bin/sh\necho no such sensor\nexit 1\n")))
    equal(done.code, 1, done)
    equal(t.live(), "app-1", done)
    check("no such sensor" in done.err, done)


@sentence("what RAUC's service writes to the journal says how far fussy is, a line for each step")
def _(t):
    t.install("app-1")
    done = t.rauc_install(t.bundle(t.package("app-2", pre_install="#!/bin/sh\n", post_install="#!/bin/sh\n")))
    equal(done.code, 0, done)
    lines = re.findall(r"^fussy-install: ([a-z-]+)", done.err, re.MULTILINE)
    equal(lines, ["verifying", "unpacking", "syncing", "pre-install", "post-install"], done)


@sentence("attack: a good bundle around a package of a stranger changes nothing")
def _(t):
    t.install("app-1")
    before = t.snapshot()
    done = t.rauc_install(t.bundle(t.package("app-2", signer=t.stranger)))
    equal(done.code, 1, done)
    equal(t.snapshot(), before)


@sentence("gotcha: a manifest that asks for other hooks is refused with a reason")
def _(t):
    t.install("app-1")
    done = t.rauc_install(t.bundle(t.package("app-2"), hooks="install-check"))
    equal(done.code, 1, done)
    check("hooks=install" in done.err, done)


need("rauc", "dbus-daemon", "mksquashfs", "openssl")
main(RaucDevice)
