"""RAUC as a peer: its service on a private message bus, installing into a slot that is a loop device of its own."""
import os
import shutil
import subprocess
import time

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""
SYSTEM = """[system]
compatible=bench
bootloader=noop
statusfile={folder}/status
mountprefix={folder}/mnt
[keyring]
path={folder}/cert.pem
[slot.rootfs.0]
device=/dev/null
type=raw
bootname=system0
[slot.app.0]
device={device}
type=ext4
"""
MANIFEST = """[update]
compatible=bench
version=1
[bundle]
format=plain
[image.app]
filename=app.tar.gz
"""
NEEDS = ("rauc", "dbus-daemon", "mksquashfs", "openssl", "losetup", "mkfs.ext4")


def why_absent():
    missing = [tool for tool in NEEDS if not shutil.which(tool)]
    if missing:
        return "not installed: " + ", ".join(missing)
    return None if os.geteuid() == 0 else "needs root"


class Rauc:
    """One slot and one service for a whole run. Close it."""

    def __init__(self, folder, slot_mb):
        self.folder = folder
        os.makedirs(folder + "/mnt", exist_ok=True)
        self.image = folder + "/slot.img"
        subprocess.run(["fallocate", "-l", f"{slot_mb}M", self.image], check=True)
        self.device = subprocess.run(["losetup", "--find", "--show", self.image], check=True, capture_output=True,
                                     text=True).stdout.strip()
        self.processes = []
        self.write("bus.conf", BUS)
        self.write("system.conf", SYSTEM)
        if not os.path.exists(folder + "/cert.pem"):
            self.run("openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "3650", "-subj", "/CN=bench",
                     "-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection",
                     "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as out:
            out.write(text.format(folder=self.folder, device=self.device))

    def run(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def bundle(self, archive, to):
        """A signed bundle around a .tar.gz, unless it is there."""
        if os.path.exists(to):
            return
        content = to + ".content"
        os.makedirs(content, exist_ok=True)
        shutil.copy(archive, content + "/app.tar.gz")
        with open(content + "/manifest.raucm", "w", encoding="utf-8") as out:
            out.write(MANIFEST)
        self.run("rauc", "--cert", self.folder + "/cert.pem", "--key", self.folder + "/key.pem", "bundle", content, to)
        shutil.rmtree(content)

    def install(self, bundle):
        return (f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self.folder}/bus rauc -c {self.folder}/system.conf install {bundle}")

    def start(self):
        """Starts bus and service where they do not run yet; they serve all rounds, as on a device."""
        if self.processes:
            return
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={self.folder}/bus")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        self.processes.append(subprocess.Popen(["dbus-daemon", "--nofork", f"--config-file={self.folder}/bus.conf"], **quiet))
        self.wait_for(lambda: os.path.exists(self.folder + "/bus"))
        service = ["rauc", "-c", self.folder + "/system.conf", "--override-boot-slot=system0", "service"]
        self.processes.append(subprocess.Popen(service, **quiet))
        status = ["rauc", "-c", self.folder + "/system.conf", "status"]
        self.wait_for(lambda: subprocess.run(status, check=False, **quiet).returncode == 0)

    @staticmethod
    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("RAUC's service did not start")
            time.sleep(0.05)

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()
        subprocess.run(["losetup", "--detach", self.device], check=False)
        os.unlink(self.image)
        if os.path.exists(self.folder + "/bus"):
            os.unlink(self.folder + "/bus")
