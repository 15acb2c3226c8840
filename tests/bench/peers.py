"""What is compared with what: the works, and for each the shell commands of fussy and of its peers."""
import functools
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field

import rauc_peer


@dataclass
class Contender:
    name: str
    command: str
    prepare: str = ""    # not timed
    ours: bool = False
    goal: float = 0.0    # the ratio to the baseline that is to be reached; 0: none
    rival: bool = False  # a whole updater: ours are to be faster
    against_best: bool = False  # the goal is meant against the fastest of the peers in each round, not the first
    before: object = None  # called once, before the first round and when everything is made ready


@dataclass
class Work:
    name: str
    contenders: list = field(default_factory=list)  # the first is the baseline
    memory_goal: float = 0.0  # MiB


def inflate_engine(build):
    """What the build chose at set-up, from its own record."""
    out = subprocess.run(["meson", "introspect", "--dependencies", build], capture_output=True, text=True)
    if out.returncode != 0:
        return "?"
    return "ISA-L" if "libisal" in [d["name"] for d in json.loads(out.stdout)] else "zlib"


class Bench:
    """Keys, packages and peers in one working directory. The first build does what does not depend on inflating."""

    def __init__(self, builds, work, scale=1.0):
        self.builds = {inflate_engine(b): os.path.abspath(b) for b in builds}
        self.first = os.path.abspath(builds[0])
        self.work, self.scale = os.path.abspath(work), scale
        self.home = os.path.join(self.work, "gnupg")
        self.public = os.path.join(self.work, "public.gpg")
        self.absent = {}
        self.environment = dict(os.environ, GNUPGHOME=self.home, LC_ALL="C")
        for tool in ("swupdate", "ostree", "bsdtar", "rsync", "gpgv", "sqv", "pigz", "zstd"):
            if not shutil.which(tool):
                self.absent[tool] = "not installed" + (": the original's way needs it" if tool == "rsync" else "")
        if why := rauc_peer.why_absent():
            self.absent["RAUC"] = why
        self.rauc = None
        if len(self.builds) == 1 and "zlib" not in self.builds:
            self.absent["fussy with zlib"] = "one build only: name a second one, set up with -Disal=disabled"

    def has(self, tool):
        return tool not in self.absent

    def sh(self, command):
        subprocess.run(["bash", "-c", "set -e -o pipefail\n" + command], env=self.environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def tool(self, name, build=None):
        return os.path.join(build or self.first, "examples", "cli", name)

    def make_keys(self):
        if os.path.exists(self.public):
            return
        os.makedirs(self.home, mode=0o700, exist_ok=True)
        self.sh("gpg --batch -q --passphrase '' --quick-gen-key 'fussy bench <bench@example.org>' ed25519 sign never\n"
                "F=$(gpg --list-keys --with-colons | awk -F: '/^fpr/{print $10; exit}')\n"
                "gpg --batch -q --passphrase '' --quick-add-key $F cv25519 encr never\n"
                f"gpg --batch -q --export > {self.public}")

    def close(self):
        if self.rauc:
            self.rauc.close()
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, stderr=subprocess.DEVNULL)

    def path(self, payload, name):
        return os.path.join(self.work, payload, name)

    # ---- Packages ----------------------------------------------------------------------------------------------------

    def make_packages(self, payload):
        """v1 and v2 as gzip, signed; v1 also encrypted, as zstd, and as the peers want it."""
        pack = "pigz" if self.has("pigz") else "gzip"
        sign = "gpg --batch --yes -q -z0"
        p = lambda name: self.path(payload, name)
        for v in ("v1", "v2"):
            if not os.path.exists(p(f"{v}.tar.gz.gpg")):
                self.sh(f"tar --sort=name -C {p(v)} -c {payload} | {pack} > {p(v)}.tar.gz\n"
                        f"{sign} -o {p(v)}.tar.gz.gpg --sign {p(v)}.tar.gz")
        if not os.path.exists(p("v1.enc.gpg")):
            self.sh(f"{sign} -o {p('v1.tar.gz.sig')} -b {p('v1.tar.gz')}\n"
                    f"{sign} --trust-model always -r bench@example.org -o {p('v1.enc.gpg')} -se {p('v1.tar.gz')}")
        if self.has("zstd") and not os.path.exists(p("v1.tar.zst.gpg")):
            self.sh(f"tar --sort=name -C {p('v1')} -c {payload} | zstd -q -9 -T0 > {p('v1.tar.zst')}\n"
                    f"{sign} -o {p('v1.tar.zst.gpg')} --sign {p('v1.tar.zst')}")
        if self.has("ostree") and not os.path.exists(p("ostree")):
            self.make_ostree(p, p("ostree"), "bare-user")
        if self.has("ostree") and not os.path.exists(p("ostree-signed")):
            self.make_ostree(p, p("ostree-signed"), "archive", f"--gpg-sign=bench@example.org --gpg-homedir={self.home}")
        if self.has("RAUC"):
            self.make_rauc()
            self.rauc.bundle(p("v1.tar.gz"), p("v1.raucb"))

    def make_ostree(self, path, repo, mode, sign=""):
        """Made beside it, so that a repository is whole or not there."""
        part = repo + ".part"
        shutil.rmtree(part, ignore_errors=True)
        self.sh(f"ostree init --repo={part} --mode={mode}\n" + "".join(
            f"ostree commit --repo={part} -b {v} --tree=dir={path(v)} -s {v} {sign}\n" for v in ("v1", "v2")))
        os.rename(part, repo)

    def make_rauc(self):
        self.rauc = self.rauc or rauc_peer.Rauc(os.path.join(self.work, "rauc"), int(1600 * self.scale) + 200)

    def make_swu(self, payload, target):
        """An update of SWUpdate that unpacks into the target: the path is inside of what is signed."""
        folder = self.path(payload, "swu")
        if os.path.exists(folder + "/update.swu"):
            return
        os.makedirs(folder, exist_ok=True)
        archive = self.path(payload, "v1.tar.gz")
        digest = hashlib.sha256()
        with open(archive, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        with open(folder + "/sw-description", "w", encoding="utf-8") as out:
            out.write('software = { version = "1.0"; bench = { hardware-compatibility = [ "1.0" ];\n'
                      f' images: ( {{ filename = "app.tar.gz"; type = "archive"; path = "{target}"; installed-directly = true;\n'
                      f'   sha256 = "{digest.hexdigest()}";\n'
                      '   properties: { create-destination = "true"; preserve-attributes = "true"; } } ); } }\n')
        self.sh(f"cd {folder}; ln -f {archive} app.tar.gz\n"
                "openssl req -x509 -newkey rsa:3072 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=bench"
                " -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature\n"
                "openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem"
                " -outform DER -nosmimecap -binary\n"
                "printf '%s\\n' sw-description sw-description.sig app.tar.gz | cpio -o -H crc > update.swu")

    def sized(self, megabytes):
        return os.path.join(self.work, "sized", f"{megabytes}.tar.gz.gpg")

    def make_sized(self, megabytes):
        """A package of so many MB that do not compress, for the memory it takes."""
        package = self.sized(megabytes)
        folder, name = os.path.dirname(package), f"size{megabytes}"
        if not os.path.exists(package):
            os.makedirs(f"{folder}/{name}", exist_ok=True)
            self.sh(f"cd {folder}; openssl enc -aes-128-ctr -nosalt -pass pass:{name} -in /dev/zero 2>/dev/null |"
                    f" head -c {megabytes}000000 > {name}/content.bin || true\n"
                    f"tar -c {name} | gzip -1 | gpg --batch --yes -q -z0 -o {package} --sign; rm -r {name}")

    # ---- The works ---------------------------------------------------------------------------------------------------

    def works(self, payload, disk):
        return [self.first_install(payload, disk), self.upgrade(payload, disk), self.verify(payload),
                self.pack(payload, disk), self.zstd(payload, disk)]

    def works_without_payload(self, disk):
        return [self.start(), self.memory(disk)]

    def fussy(self, package, disk, stream=False, build=None):
        return (f"mkdir -p {disk}/t\n{self.tool('fussy-install', build)} -k {self.home} -t {disk}/t " +
                (f"- < {package}" if stream else package))

    def ours(self, name, command, goals, prepare=""):
        """fussy once for each build: `command` makes the shell command for one, goals are by engine."""
        several = len(self.builds) > 1
        return [Contender(name + (f" ({engine})" if several else ""), command(build), ours=True,
                          goal=goals.get(engine, 0), prepare=prepare) for engine, build in self.builds.items()]

    def first_install(self, payload, disk):
        p = lambda name: self.path(payload, name)
        small = payload == "many-small"
        work = Work(f"first install, {payload}")
        add = work.contenders.append
        add(Contender("tar -xzf, sync -f", f"tar -C {disk} -xzf {p('v1.tar.gz')}; sync -f {disk}"))
        work.contenders += self.ours("fussy, one pass", lambda b: self.fussy(p("v1.tar.gz.gpg"), disk, True, b),
                                     {} if small else {"zlib": 0.75, "ISA-L": 0.55})
        work.contenders += self.ours("fussy, proof first", lambda b: self.fussy(p("v1.tar.gz.gpg"), disk, False, b),
                                     {"zlib": 1.05, "ISA-L": 0.95} if small else {"zlib": 0.85, "ISA-L": 0.65})
        work.contenders += self.ours("fussy, encrypted, proof first", lambda b: self.fussy(p("v1.enc.gpg"), disk, False, b),
                                     {} if small else {"zlib": 1.00, "ISA-L": 0.80})
        if self.has("rsync"):
            add(Contender("the original: gpg, tar, rsync, sync", self.original("v1", payload, disk)))
        if self.has("bsdtar"):
            add(Contender("bsdtar -xf, sync -f", f"bsdtar -C {disk} -xf {p('v1.tar.gz')}; sync -f {disk}"))
        if self.has("swupdate") and shutil.which("openssl") and shutil.which("cpio"):
            self.make_swu(payload, disk + "/t")
            add(Contender("SWUpdate, sync -f", rival=True, command=
                          f"swupdate -H bench:1.0 -i {p('swu')}/update.swu -k {p('swu')}/cert.pem; sync -f {disk}"))
        if self.has("ostree"):
            prepare = self.ostree_device(disk)
            add(Contender("OSTree, signed", self.ostree("v1", payload, disk), rival=True, prepare=prepare))
            add(Contender("OSTree, nothing verified or inflated", self.ostree_copied("v1", payload, disk), prepare=prepare))
        if self.rauc:
            add(Contender("RAUC, mkfs of its slot included", self.rauc.install(p("v1.raucb")), rival=True,
                          before=self.rauc.start))
        return work

    def original(self, version, payload, disk, link=""):
        tmp, t = f"{disk}/tmp", f"{disk}/t"
        return (f"mkdir -p {tmp}/x {t}; gpg --batch -q -d {self.path(payload, version)}.tar.gz.gpg > {tmp}/p.tar.gz 2>/dev/null\n"
                f"tar -C {tmp}/x -zxf {tmp}/p.tar.gz; rsync -a {link} {tmp}/x/{payload}/ {t}/{version}/; rm -rf {tmp}\n"
                f"ln -s {version} {t}/new; mv -T {t}/new {t}/current; sync -f {disk}")

    # OSTree as it updates devices: the compressed objects of a server, a signed commit, checksums that are verified. And as
    # it copies between directories of one machine that trust each other, which bounds what any updater can do.

    def ostree_device(self, disk):
        return (f"ostree init --repo={disk}/repo --mode=bare-user\n"
                f"ostree remote add --repo={disk}/repo --gpg-import={self.public} bench file:///none\n")

    def ostree(self, version, payload, disk):
        return (f"ostree pull-local --repo={disk}/repo --untrusted --remote=bench --gpg-verify"
                f" {self.path(payload, 'ostree-signed')} {version}\n"
                f"ostree checkout -U -H --repo={disk}/repo bench:{version} {disk}/{version}; sync -f {disk}\n")

    def ostree_copied(self, version, payload, disk):
        return (f"ostree pull-local --repo={disk}/repo {self.path(payload, 'ostree')} {version}\n"
                f"ostree checkout -U -H --repo={disk}/repo {version} {disk}/{version}; sync -f {disk}\n")

    def upgrade(self, payload, disk):
        p = lambda name: self.path(payload, name)
        work = Work(f"upgrade, 10 % of the files changed, {payload}")
        add = work.contenders.append
        goals = {"zlib": 0.45, "ISA-L": 0.30}
        if self.has("rsync"):
            add(Contender("the original: gpg, tar, rsync, sync",
                          self.original("v2", payload, disk, f"--link-dest={disk}/t/v1"),
                          prepare=self.original("v1", payload, disk)))
        else:
            add(Contender("tar -xzf, sync -f", f"tar -C {disk} -xzf {p('v2.tar.gz')}; sync -f {disk}"))
            goals = {}
        before = self.fussy(p("v1.tar.gz.gpg"), disk)
        work.contenders += self.ours("fussy, one pass", lambda b: self.fussy(p("v2.tar.gz.gpg"), disk, True, b), goals, before)
        work.contenders += self.ours("fussy, proof first", lambda b: self.fussy(p("v2.tar.gz.gpg"), disk, False, b), goals, before)
        if self.has("ostree"):
            device = self.ostree_device(disk)
            add(Contender("OSTree, signed", self.ostree("v2", payload, disk), rival=True,
                          prepare=device + self.ostree("v1", payload, disk)))
            add(Contender("OSTree, nothing verified or inflated", self.ostree_copied("v2", payload, disk),
                          prepare=device + self.ostree_copied("v1", payload, disk)))
        return work

    def verify(self, payload):
        p = lambda name: self.path(payload, name)
        work = Work(f"verify only, {payload}")
        if self.has("gpgv"):
            work.contenders.append(Contender("gpgv", f"gpgv -q --keyring {self.public} -o /dev/null {p('v1.tar.gz.gpg')}"))
        if self.has("sqv"):
            work.contenders.append(Contender("sqv, detached", f"sqv --keyring {self.public} {p('v1.tar.gz.sig')} {p('v1.tar.gz')}"))
        work.contenders.append(Contender("fussy", f"{self.first}/tests/bench/pieces verify {self.home} {p('v1.tar.gz.gpg')}",
                                         ours=True, goal=1.05, against_best=True))
        return work

    def pack(self, payload, disk):
        work = Work(f"pack and sign, {payload}")
        pack = "pigz" if self.has("pigz") else "gzip"
        work.contenders.append(Contender(f"tar | {pack}, gpg --sign",
            f"tar -C {self.path(payload, 'v1')} -c {payload} | {pack} > {disk}/p.tar.gz; gpg --batch -q -z0 --sign {disk}/p.tar.gz"))
        work.contenders.append(Contender("fussy-pack", ours=True, goal=1.05 if pack == "pigz" else 0, command=
            f"cd {self.path(payload, 'v1')}; TMPDIR={disk} {self.tool('fussy-pack')} -r {payload}"))
        return work

    def zstd(self, payload, disk):
        p = lambda name: self.path(payload, name)
        work = Work(f"first install of a zstd package, {payload}")
        if self.has("zstd"):
            fussy = lambda name, stream, goal: Contender(name, self.fussy(p("v1.tar.zst.gpg"), disk, stream), ours=True, goal=goal)
            work.contenders = [
                Contender("tar --zstd -x, sync -f", f"tar -C {disk} --zstd -xf {p('v1.tar.zst')}; sync -f {disk}"),
                fussy("fussy, one pass", True, 1.05), fussy("fussy, proof first", False, 1.05)]
        return work

    def start(self):
        times = "for i in {1..200}; do %s > /dev/null; done"
        work = Work("200 starts", [Contender("true", times % "/bin/true")])
        work.contenders += self.ours("fussy-install --version", lambda b: times % (self.tool("fussy-install", b) + " --version"),
                                     {"zlib": 3.0, "ISA-L": 3.0})
        return work

    def memory(self, disk):
        """Each in its own right: the ratio says nothing here, the peak memory does."""
        work = Work("peak memory by size of the package", memory_goal=24)
        if not shutil.which("openssl"):
            return work
        for name, megabytes in (("10 MB", 10), ("2 GB", int(2000 * self.scale))):
            for how, stream in (("one pass", True), ("proof first", False)):
                work.contenders.append(Contender(f"fussy, {name}, {how}", self.fussy(self.sized(megabytes), disk, stream),
                                                 ours=True, before=functools.partial(self.make_sized, megabytes)))
        return work
