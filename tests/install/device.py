"""A vendor with a key and a device with a target, for what is tested through the commands."""
import io
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Workspace, check, equal, snapshot  # noqa: E402

VENDOR, BOX = "vendor@example.com", "box@example.com"
LONG = bool(os.environ.get("FUSSY_LONG_TESTS"))


class Keys:
    """Made once: keys take time."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.made = cls()
        return cls.made

    def __init__(self):
        self.space = Workspace()
        self.home, self.ring = self.space.at("vendor"), self.space.at("ring")
        for directory in (self.home, self.ring):
            os.mkdir(directory, 0o700)
        for uid, algorithm in ((VENDOR, "ed25519"), (BOX, "future-default")):
            self.gpg("--passphrase", "", "--quick-generate-key", uid, algorithm, "default" if uid == BOX else "sign")
        self.space.write("ring/vendor.asc", self.gpg("--armor", "--export", VENDOR))
        self.space.write("ring/box.asc", self.gpg("--passphrase", "", "--armor", "--export-secret-keys", BOX))

    def gpg(self, *argv, stdin=b"", stdout=subprocess.PIPE):
        common = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--trust-model", "always",
                  "--pinentry-mode", "loopback", "-z", "0"]
        done = subprocess.run([*common, *argv], stdout=stdout, stderr=subprocess.PIPE,
                              **({"stdin": stdin} if hasattr(stdin, "fileno") else {"input": stdin}))
        check(done.returncode == 0, f"gpg {argv}: {done.stderr.decode()}")
        return done.stdout

    @classmethod
    def close(cls):
        if cls.made:
            cls.made.space.close()


class Device(Workspace):
    """With a target that runs `old`, something beside it that nobody may touch, and eyes that see both."""

    def __init__(self):
        super().__init__()
        self.target = self.at("target")
        os.mkdir(self.target)
        self.write("outside/sentinel", "never touched")

    def close(self):
        with open("/proc/self/mountinfo") as f:
            mounted = [line.split()[4] for line in f]
        for where in mounted:  # what a test that failed has left, wherever that was moved to
            if where.startswith(self.path + "/"):
                subprocess.run(["umount", "-l", where], capture_output=True)
        super().close()

    def sign(self, archive, *argv, name="package.gpg"):
        """A package of these octets, whatever they are."""
        return self.write(name, Keys.get().gpg("-u", VENDOR, *(argv or ["--sign"]), stdin=archive))

    def encrypt(self, archive, **named):
        return self.sign(archive, "-r", BOX, "-se", **named)

    def package(self, root, files, **named):
        return self.sign(tar_gz([directory(root), *(file(f"{root}/{n}", c) for n, c in files.items())]), **named)

    def install(self, package, *more, command="fussy-install", **named):
        return self.run(command, "-k", Keys.get().ring, "-t", self.target, *more, package, **named)

    def must_install(self, package, *more, **named):
        done = self.install(package, *more, **named)
        equal(done.code, 0, repr(done))
        return done

    def current(self):
        return os.readlink(os.path.join(self.target, "current"))

    def seen(self):
        """The target as everybody but us sees it."""
        return {k: v for k, v in snapshot(self.target).items() if k.split("/")[0] != ".fussy"}

    def outside(self):
        sentinel = os.lstat(self.at("outside/sentinel"))
        return (snapshot(self.at("outside")), sentinel.st_nlink, sentinel.st_ctime_ns)

    def litter(self):
        """What is in .fussy, and in the temporary directory, that should not be there at rest."""
        ours = os.path.join(self.target, ".fussy")
        found = []
        if os.path.isdir(ours):
            found = [n for n in os.listdir(ours) if n not in ("lock", "previous", "failed", "staging")]
            found += os.listdir(os.path.join(ours, "staging"))
        return found + os.listdir(self.temporary)

    def hidden_size(self):
        """Octets on the disk of what we keep in the target."""
        ours = os.path.join(self.target, ".fussy")
        paths = [ours, *(os.path.join(p, n) for p, d, f in os.walk(ours) for n in d + f)]
        return sum(os.lstat(path).st_blocks * 512 for path in paths)


# ---- Archives, entry by entry ------------------------------------------------------------------------------------------


class Verbatim(tarfile.TarInfo):
    """tarfile takes slashes away from the end of names and adds them: a hostile archive has what it says."""

    def get_info(self):
        info = super().get_info()
        info["name"] = self.name
        return info


def entry(name, kind, link="", content=b"", mode=0o644, **more):
    info = Verbatim()
    info.name, info.type, info.linkname, info.size, info.mode = name, kind, link, len(content), mode
    info.mtime = 1_700_000_000
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def directory(name, mode=0o755):
    return entry(name, tarfile.DIRTYPE, mode=mode)


def file(name, content="", mode=0o644):
    executable = name.endswith("!")
    return entry(name.rstrip("!"), tarfile.REGTYPE, content=content if isinstance(content, bytes) else content.encode(),
                 mode=0o755 if executable else mode)


def symlink(name, text):
    return entry(name, tarfile.SYMTYPE, link=text, mode=0o777)


def hard_link(name, to):
    return entry(name, tarfile.LNKTYPE, link=to)


def tar(entries, form=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    for info, content in entries:
        out.write(info.tobuf(form, "utf-8", "surrogateescape"))
        out.write(content + b"\0" * (-len(content) % 512))
    return out.getvalue() + b"\0" * 1024


def tar_gz(entries, **named):
    return gz(tar(entries, **named))


def gz(data):
    import gzip
    return gzip.compress(data, 1, mtime=0)
