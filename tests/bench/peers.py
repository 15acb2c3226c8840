"""What is compared with what: the works, and for each the shell commands of fussy and of its peers."""
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field


@dataclass
class Contender:
    name: str
    command: str
    prepare: str = ""   # not timed
    ours: bool = False


@dataclass
class Work:
    name: str
    payload: str
    goal: str
    contenders: list = field(default_factory=list)  # the first is the baseline


class Bench:
    """Keys, packages and peers in one working directory."""

    def __init__(self, build, work):
        self.cli = os.path.join(os.path.abspath(build), "examples", "cli")
        self.work = os.path.abspath(work)
        self.home = os.path.join(self.work, "gnupg")
        self.public = os.path.join(self.work, "public.gpg")
        self.absent = {}
        self.environment = dict(os.environ, GNUPGHOME=self.home, LC_ALL="C", PATH=self.cli + ":" + os.environ["PATH"])
        for tool, why in (("swupdate", "not installed"), ("ostree", "not installed"), ("bsdtar", "not installed"),
                          ("rsync", "not installed: the original's way needs it"), ("gpgv", "not installed"),
                          ("sqv", "not installed"), ("pigz", "not installed"), ("zstd", "not installed")):
            if not shutil.which(tool):
                self.absent[tool] = why
        self.absent["RAUC"] = "it installs into whole slots through its D-Bus service, not into a directory"

    def has(self, tool):
        return tool not in self.absent

    def sh(self, command):
        subprocess.run(["bash", "-c", "set -e -o pipefail\n" + command], env=self.environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def make_keys(self):
        if os.path.exists(self.public):
            return
        os.makedirs(self.home, mode=0o700, exist_ok=True)
        self.sh("gpg --batch -q --passphrase '' --quick-gen-key 'fussy bench <bench@example.org>' ed25519 sign never\n"
                "F=$(gpg --list-keys --with-colons | awk -F: '/^fpr/{print $10; exit}')\n"
                "gpg --batch -q --passphrase '' --quick-add-key $F cv25519 encr never\n"
                f"gpg --batch -q --export > {self.public}")

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, stderr=subprocess.DEVNULL)

    def path(self, payload, name):
        return os.path.join(self.work, payload, name)

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
            self.sh(f"{sign} --trust-model always -r bench@example.org -o {p('v1.enc.gpg')} -se {p('v1.tar.gz')}\n"
                    f"{sign} -o {p('v1.tar.gz.sig')} -b {p('v1.tar.gz')}")
        if self.has("zstd") and not os.path.exists(p("v1.tar.zst.gpg")):
            self.sh(f"tar --sort=name -C {p('v1')} -c {payload} | zstd -q -9 -T0 > {p('v1.tar.zst')}\n"
                    f"{sign} -o {p('v1.tar.zst.gpg')} --sign {p('v1.tar.zst')}")
        if self.has("ostree") and not os.path.exists(p("ostree")):
            self.sh(f"ostree init --repo={p('ostree')} --mode=bare-user\n"
                    + "".join(f"ostree commit --repo={p('ostree')} -b {v} --tree=dir={p(v)} -s {v}\n" for v in ("v1", "v2")))

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

    # ---- The works ---------------------------------------------------------------------------------------------------

    def works(self, payload, disk):
        return [self.first_install(payload, disk), self.upgrade(payload, disk), self.verify(payload),
                self.pack(payload, disk), self.zstd(payload, disk), self.start()]

    def fussy(self, package, disk, stream=False):
        return (f"mkdir -p {disk}/t\nfussy-install -k {self.home} -t {disk}/t " +
                (f"- < {package}" if stream else package))

    def first_install(self, payload, disk):
        p = lambda name: self.path(payload, name)
        work = Work(f"first install, {payload}", payload,
                    "proof first <= 1.05 with zlib, 0.95 with ISA-L" if payload == "many-small" else
                    "one pass <= 0.75 with zlib, 0.55 with ISA-L; proof first 0.85, 0.65; encrypted 1.00, 0.80")
        add = work.contenders.append
        add(Contender("tar -xzf, sync -f", f"tar -C {disk} -xzf {p('v1.tar.gz')}; sync -f {disk}"))
        add(Contender("fussy, one pass", self.fussy(p("v1.tar.gz.gpg"), disk, stream=True), ours=True))
        add(Contender("fussy, proof first", self.fussy(p("v1.tar.gz.gpg"), disk), ours=True))
        add(Contender("fussy, encrypted, proof first", self.fussy(p("v1.enc.gpg"), disk), ours=True))
        if self.has("rsync"):
            add(Contender("the original: gpg, tar, rsync", self.original("v1", payload, disk)))
        if self.has("bsdtar"):
            add(Contender("bsdtar -xf, sync -f", f"bsdtar -C {disk} -xf {p('v1.tar.gz')}; sync -f {disk}"))
        if self.has("swupdate") and shutil.which("openssl") and shutil.which("cpio"):
            self.make_swu(payload, disk + "/t")
            add(Contender("SWUpdate, sync -f", f"swupdate -H bench:1.0 -i {p('swu')}/update.swu -k {p('swu')}/cert.pem; sync -f {disk}"))
        if self.has("ostree"):
            add(Contender("OSTree, its own fsyncs", self.ostree("v1", payload, disk) + f"sync -f {disk}",
                          prepare=f"ostree init --repo={disk}/repo --mode=bare-user"))
        return work

    def original(self, version, payload, disk, link=""):
        tmp, t = f"{disk}/tmp", f"{disk}/t"
        return (f"mkdir -p {tmp}/x {t}; gpg --batch -q -d {self.path(payload, version)}.tar.gz.gpg > {tmp}/p.tar.gz 2>/dev/null\n"
                f"tar -C {tmp}/x -zxf {tmp}/p.tar.gz; rsync -a {link} {tmp}/x/{payload}/ {t}/{version}/; rm -rf {tmp}\n"
                f"ln -s {version} {t}/new; mv -T {t}/new {t}/current; sync -f {disk}")

    def ostree(self, version, payload, disk):
        return (f"ostree --repo={disk}/repo pull-local {self.path(payload, 'ostree')} {version}\n"
                f"ostree checkout -U -H --repo={disk}/repo {version} {disk}/{version}\n")

    def upgrade(self, payload, disk):
        p = lambda name: self.path(payload, name)
        work = Work(f"upgrade, 10 % of the files changed, {payload}", payload, "<= 0.45 with zlib, 0.30 with ISA-L")
        add = work.contenders.append
        if self.has("rsync"):
            add(Contender("the original: gpg, tar, rsync", self.original("v2", payload, disk, f"--link-dest={disk}/t/v1"),
                          prepare=self.original("v1", payload, disk)))
        else:
            add(Contender("tar -xzf, sync -f", f"tar -C {disk} -xzf {p('v2.tar.gz')}; sync -f {disk}"))
        add(Contender("fussy, one pass", self.fussy(p("v2.tar.gz.gpg"), disk, stream=True),
                      prepare=self.fussy(p("v1.tar.gz.gpg"), disk), ours=True))
        add(Contender("fussy, proof first", self.fussy(p("v2.tar.gz.gpg"), disk),
                      prepare=self.fussy(p("v1.tar.gz.gpg"), disk), ours=True))
        if self.has("ostree"):
            add(Contender("OSTree, its own fsyncs", self.ostree("v2", payload, disk) + f"sync -f {disk}",
                          prepare=f"ostree init --repo={disk}/repo --mode=bare-user\n" + self.ostree("v1", payload, disk)))
        return work

    def verify(self, payload):
        p = lambda name: self.path(payload, name)
        work = Work(f"verify only, {payload}", payload, "<= 1.05 of the faster")
        if self.has("gpgv"):
            work.contenders.append(Contender("gpgv", f"gpgv -q --keyring {self.public} -o /dev/null {p('v1.tar.gz.gpg')}"))
        if self.has("sqv"):
            work.contenders.append(Contender("sqv, detached", f"sqv --keyring {self.public} {p('v1.tar.gz.sig')} {p('v1.tar.gz')}"))
        micro = os.path.join(os.path.dirname(os.path.dirname(self.cli)), "tests", "bench", "pieces")
        work.contenders.append(Contender("fussy", f"{micro} verify {self.home} {p('v1.tar.gz.gpg')}", ours=True))
        return work

    def pack(self, payload, disk):
        work = Work(f"pack and sign, {payload}", payload, "<= 1.05")
        pack = "pigz" if self.has("pigz") else "gzip"
        work.contenders.append(Contender(f"tar | {pack}, gpg --sign",
            f"tar -C {self.path(payload, 'v1')} -c {payload} | {pack} > {disk}/p.tar.gz; gpg --batch -q -z0 --sign {disk}/p.tar.gz"))
        work.contenders.append(Contender("fussy-pack",
            f"cd {self.path(payload, 'v1')}; TMPDIR={disk} fussy-pack -r {payload}", ours=True))
        return work

    def zstd(self, payload, disk):
        p = lambda name: self.path(payload, name)
        work = Work(f"first install of a zstd package, {payload}", payload, "<= 1.05")
        if self.has("zstd"):
            work.contenders.append(Contender("tar --zstd -x, sync -f", f"tar -C {disk} --zstd -xf {p('v1.tar.zst')}; sync -f {disk}"))
            work.contenders.append(Contender("fussy, one pass", self.fussy(p("v1.tar.zst.gpg"), disk, stream=True), ours=True))
            work.contenders.append(Contender("fussy, proof first", self.fussy(p("v1.tar.zst.gpg"), disk), ours=True))
        return work

    def start(self):
        times = "for i in {1..200}; do %s > /dev/null; done"
        return Work("200 starts", "", "<= 3.0",
                    [Contender("true", times % "/bin/true"),
                     Contender("fussy-install --version", times % "fussy-install --version", ours=True)])
