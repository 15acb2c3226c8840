"""The SWUpdate script in data/swupdate, called by a real swupdate."""
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
from device import Device, need, signing_certificate  # noqa: E402
from sentences import check, equal, main, sentence  # noqa: E402

SCRIPT = os.path.join(HERE, "..", "..", "data", "swupdate", "fussy-swupdate")

DESCRIPTION = """software = {{
  version = "2.0";
  hardware-compatibility: [ "1.0" ];
  files: ( {{ filename = "{name}"; path = "{path}"; sha256 = "{package_hash}"; }} );
  scripts: ( {{ filename = "fussy-swupdate"; type = "shellscript"; data = "{data}"; sha256 = "{script_hash}"; }} );
}}
"""


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class SwupdateDevice(Device):
    def __init__(self):
        super().__init__()
        self.certificate, self.key = signing_certificate()
        self.spooled = self.at("cache/app.tar.gz.gpg")
        self.settings = self.write("fussy.conf", f"target='{self.target}'\nkeyring='{self.keyring}'\n")

    def image(self, package, data=None):
        content = self.at("content")
        os.makedirs(content)
        shutil.copy(package, content)
        shutil.copy(SCRIPT, content)
        name = os.path.basename(package)
        self.write(
            "content/sw-description",
            DESCRIPTION.format(
                name=name,
                path=self.spooled,
                data=self.spooled if data is None else data,
                package_hash=sha256(package),
                script_hash=sha256(SCRIPT),
            ),
        )
        self.must(
            "openssl", "cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-in", "sw-description",
            "-out", "sw-description.sig", "-signer", self.certificate, "-inkey", self.key, cwd=content,
        )  # fmt: skip
        order = "\n".join(["sw-description", "sw-description.sig", name, "fussy-swupdate", ""])
        with open(self.at("app.swu"), "wb") as out:
            subprocess.run(["cpio", "--quiet", "-o", "-H", "crc"], input=order.encode(), stdout=out, cwd=content, check=True)
        return self.at("app.swu")

    def swupdate(self, image):
        return self.run(
            "swupdate", "-k", self.certificate, "-H", "testdev:1.0", "-i", image,
            env={"FUSSY_SWUPDATE_CONF": self.settings, "PATH": self.commands + os.pathsep + os.environ["PATH"]},
        )  # fmt: skip


@sentence("an image with a package in it installs the version, and leaves no package behind")
def _(t):
    t.install("app-1")
    done = t.swupdate(t.image(t.package("app-2")))
    check("SWUPDATE successful" in done.out, done)
    check(done.code in (0, 1), done)  # 1: what swupdate 2022.12 sometimes ends with behind its "successful" on a busy machine
    equal(t.live(), "app-2", done)
    equal(os.listdir(t.at("cache")), [])


@sentence("a failing .post-install makes the update fail, and the version before runs")
def _(t):
    t.install("app-1")
    done = t.swupdate(t.image(t.package("app-2", post_install="#!/bin/sh\necho no such sensor\nexit 1\n")))
    check(done.code != 0, done)
    equal(t.live(), "app-1", done)
    check("no such sensor" in done.out + done.err, done)
    equal(os.listdir(t.at("cache")), [])


@sentence("attack: a good image around a package of a stranger changes nothing")
def _(t):
    t.install("app-1")
    before = t.snapshot()
    done = t.swupdate(t.image(t.package("app-2", signer=t.stranger)))
    check(done.code != 0, done)
    equal(t.snapshot(), before)
    equal(os.listdir(t.at("cache")), [])


@sentence("gotcha: a description that does not say where the package is, is refused with a reason")
def _(t):
    done = t.swupdate(t.image(t.package("app-2"), data=""))
    check(done.code != 0, done)
    check("does not name the package" in done.out + done.err, done)


need("swupdate", "cpio", "openssl")
main(SwupdateDevice)
