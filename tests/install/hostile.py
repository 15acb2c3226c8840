"""What a careless vendor may sign, or somebody with his key: validly signed packages with an archive that tries to get
out, to look like something else, or to fill the device. Each ends with status 21, from a file and from a stream, with
fussy-install and with fussy-install-bytes; the target, what is beside it and the temporary directory are as before."""
import gzip
import os
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from device import VENDOR, Device, Keys, directory, entry, file, gz, hard_link, symlink, tar, tar_gz  # noqa: E402
from sentences import check, equal, main, sentence  # noqa: E402

OUTSIDE = "OUTSIDE"  # stands for the absolute path of the directory beside the target


def attacked(t):
    """A device that runs something."""
    t.must_install(t.package("good-1", {"app": "one", "lib/data": "x" * 5000, "app-link-target": "y"}))


def refused(t, archive, say="", ways=("file", "stream", "bytes")):
    package = t.sign(archive)
    before, outside = t.seen(), t.outside()
    for way in ways:
        if way == "stream":
            with open(package, "rb") as f:
                done = t.install("-", stdin=f.read())
        else:
            done = t.install(package, command="fussy-install-bytes" if way == "bytes" else "fussy-install")
        equal(done.code, 21, f"{way}: {done}")
        equal(done.out, "", f"{way}: stdout")
        check(done.err.startswith("fussy-install") and say in done.err, f"{way}: {done.err}")
        equal(t.seen(), before, f"{way}: the target changed")
        equal(t.outside(), outside, f"{way}: what is outside changed")
        equal(t.litter(), [], f"{way}: litter")
        check(t.hidden_size() <= 16384, f"{way}: {t.hidden_size()} octets hidden")
    equal(sorted(os.listdir(t.path)), ["outside", "package.gpg", "target", "tmp"], "made beside the target")


def attack(name, entries, say=""):
    """Registers one attack; OUTSIDE in names and links is the directory that must not change."""

    @sentence("attack: " + name)
    def _(t):
        attacked(t)
        real = []
        for info, content in entries:
            copy, _ = entry(info.name.replace(OUTSIDE, t.at("outside")), info.type,
                            info.linkname.replace(OUTSIDE, t.at("outside")), content, info.mode,
                            devmajor=info.devmajor, devminor=info.devminor)
            real.append((copy, content))
        refused(t, tar_gz([directory("v/"), *real]), say)


# ---- Out of the directory ----------------------------------------------------------------------------------------------

attack("a file with an absolute name", [file(f"{OUTSIDE}/sentinel", "evil")], "absolute")
attack("a directory with an absolute name", [directory(f"{OUTSIDE}/new/")], "absolute")
attack("a name with `..` in front", [file("../outside/sentinel", "evil")], "`..`")
attack("a name with `..` behind the root", [file("v/../../outside/sentinel", "evil")], "`..`")
attack("a name with `..` that stays inside", [file("v/a/../b", "evil")], "`..`")
attack("a name that ends with `..`", [directory("v/..")], "`..`")
attack("a name into the version that runs", [file("../good-1/app", "evil")], "`..`")
attack("a name into the private directory of the target", [file("../../journal", "evil")], "`..`")
attack("a link that leads out by `..`", [symlink("v/l", "../../outside")], "outside of the package")
attack("a link to the directory that holds the versions", [symlink("v/l", "..")], "outside of the package")
attack("a link whose text goes in and out again", [symlink("v/l", "a/../../../outside")], "outside of the package")
attack("a link that only leads out through another link",
       [directory("v/d/"), symlink("v/d/up", ".."), symlink("v/out", "d/up/../..")])
attack("an entry through an absolute link to outside", [symlink("v/l", OUTSIDE), file("v/l/sentinel", "evil")])
attack("a new entry through an absolute link to outside", [symlink("v/l", OUTSIDE), file("v/l/new", "evil")])
attack("a directory through a link to outside", [symlink("v/l", OUTSIDE), directory("v/l/new/")])
attack("an entry through a link inside of the package", [directory("v/d/"), symlink("v/l", "d"), file("v/l/f", "x")])
attack("an entry through a chain of links", [symlink("v/a", OUTSIDE), symlink("v/b", "a"), file("v/b/new", "evil")])
attack("a file over a link to outside", [symlink("v/l", f"{OUTSIDE}/sentinel"), file("v/l", "evil")])
attack("a file over a dangling link to outside", [symlink("v/l", f"{OUTSIDE}/new"), file("v/l", "evil")])
attack("a directory over a link to outside, then an entry in it",
       [symlink("v/l", OUTSIDE), directory("v/l/"), file("v/l/new", "evil")])
attack("a hard link to an absolute name", [hard_link("v/h", f"{OUTSIDE}/sentinel")])
attack("a hard link to /etc/passwd", [hard_link("v/h", "/etc/passwd")])
attack("a hard link out by `..`", [hard_link("v/h", "v/../../outside/sentinel")])
attack("a hard link to the version that runs", [hard_link("v/h", "../good-1/app")])
attack("a hard link through a link to outside", [symlink("v/l", OUTSIDE), hard_link("v/h", "v/l/sentinel")])
attack("a hard link to a name that does not come before it", [hard_link("v/h", "v/later"), file("v/later", "x")])
attack("a hard link to a directory", [directory("v/d/"), hard_link("v/h", "v/d")])
attack("content behind a hard link to outside", [hard_link("v/h", f"{OUTSIDE}/sentinel"), file("v/h", "evil")])

# ---- What no application directory has ---------------------------------------------------------------------------------

attack("a character device", [entry("v/null", tarfile.CHRTYPE, devmajor=1, devminor=3)], "device")
attack("a block device", [entry("v/disk", tarfile.BLKTYPE, devmajor=8, devminor=0)], "device")
attack("a named pipe", [entry("v/pipe", tarfile.FIFOTYPE)], "pipe")
attack("a named pipe where a hook is looked for", [entry("v/.pre-install", tarfile.FIFOTYPE)], "pipe")

# ---- Two things that look like one -------------------------------------------------------------------------------------

attack("a file twice", [file("v/f", "good"), file("v/f", "evil")], "another entry")
attack("a file, then a link of that name", [file("v/f", "good"), symlink("v/f", "/etc/passwd")], "another entry")
attack("a file, then a hard link of that name", [file("v/g"), file("v/f"), hard_link("v/f", "v/g")], "another entry")
attack("a file, then a directory of that name", [file("v/f", "good"), directory("v/f/")])
attack("a directory, then a file of that name", [directory("v/f/"), file("v/f", "evil")])
attack("a file twice, once with `./` in front", [file("v/f", "good"), file("./v/f", "evil")], "another entry")
attack("a file twice, once with two slashes", [file("v/f", "good"), file("v//f", "evil")], "another entry")
attack("a file twice, once with `/./`", [file("v/f", "good"), file("v/./f", "evil")], "another entry")
attack("a link with a slash at its end, to pass for a directory", [symlink("v/l/", OUTSIDE)])
attack("a link with a slash at its end, then an entry in it", [symlink("v/l/", OUTSIDE), file("v/l/new", "evil")])
attack("a hard link with a slash at its end", [file("v/f"), hard_link("v/h/", "v/f")])
attack("a device with a slash at its end", [entry("v/d/", tarfile.CHRTYPE, devmajor=1, devminor=3)])
attack("a root that differs in case only", [file("V/f", "evil")])
attack("an entry below a file", [file("v/f", "x"), file("v/f/g", "evil")])

# ---- The top level -----------------------------------------------------------------------------------------------------

attack("two roots", [directory("w/"), file("w/f", "x")])
attack("a file beside the root", [file("README", "x")])
attack("a hidden file beside the root", [file(".hidden", "x")])
attack("a link beside the root", [symlink("current", "v")])

for ROOT in ("current", "failsafe", "CURRENT", "Failsafe", ".hidden", ".fussy", "...", "v\n", "v\x1b[2J", "v\x7f", "n" * 256):

    @sentence(f"attack: a root that is called {ascii(ROOT[:20])}")
    def _(t, root=ROOT):
        attacked(t)
        refused(t, tar_gz([directory(root + "/"), file(root + "/app", "evil")]))


@sentence("attack: a root called current, on a device that has no version yet")
def _(t):
    refused(t, tar_gz([directory("current/"), file("current/app", "evil")]))
    equal(os.listdir(t.target), [".fussy"])


@sentence("attack: a root that is a file, or a link, or missing")
def _(t):
    attacked(t)
    for entries in ([file("v", "evil")], [symlink("v", t.at("outside"))], [symlink("v", "good-1"), file("v/app", "evil")],
                    [directory("./")], []):
        refused(t, tar_gz(entries), ways=("file", "stream"))


# ---- Too much ----------------------------------------------------------------------------------------------------------


def gzip_members(*parts):
    """One gzip stream of members, each compressed once: (octets, how often)."""
    return b"".join(gzip.compress(data, level, mtime=0) * times for data, times, level in parts)


def bomb(part, times, level):
    """An archive with one file whose content is this part so many times."""
    info, _ = file("v/large")
    info.size = len(part) * times
    head = tar([directory("v/"), (info, b"")])[:1024]
    return gzip_members((head, 1, 9), (part, times, level), (b"\0" * (-info.size % 512 + 1024), 1, 9))


ZEROS = b"\0" * (10 << 20)


@sentence("attack: a bomb of a thousand to one, 20 GB of zeros, is stopped early")
def _(t):
    attacked(t)
    refused(t, bomb(ZEROS, 2000, 9), "times its size")


@sentence("attack: a bomb of a hundred and twenty to one, 2 GB of text, is stopped early")
def _(t):
    attacked(t)
    text = b"a line of a log as there are many, with a number: 4711\n" * 40_000
    check(100 < len(text) / len(gzip.compress(text, 1)) < 300, "it is packed more or less than it should be")
    refused(t, bomb(text, 1000, 1), "times its size")


@sentence("attack: a bomb within a package that is compressed once more by gpg")
def _(t):
    attacked(t)
    package = t.write("package.gpg", Keys.get().gpg("-u", VENDOR, "-z", "9", "--sign", stdin=bomb(ZEROS, 50, 9)))
    before = t.seen()
    equal(t.install(package).code, 21)
    equal((t.seen(), t.litter()), (before, []))


@sentence("attack: more than a million entries")
def _(t):
    attacked(t)
    head = tar([directory("v/")])[:512]
    # Of the ratio the limit on entries is to speak first here: noise that nobody compresses, a megabyte for each thousand.
    noise, content = file("v/noise", os.urandom(12 << 20))
    for name, say in (("v/d/", "too many directories"), ("./", "1000000 entries")):
        info, _ = directory(name)
        many = info.tobuf(tarfile.GNU_FORMAT) * 1000
        refused(t, gzip_members((head + tar([(noise, content)])[:-1024], 1, 1), (many, 1001, 9), (b"\0" * 1024, 1, 9)),
                say, ways=("file", "stream"))


@sentence("attack: a file whose size is a lie")
def _(t):
    attacked(t)
    for size in (1 << 62, 1 << 40, 100_000):
        info, _ = file("v/f")
        info.size = size
        refused(t, gz(tar([directory("v/"), (info, b"")])[:1024]), ways=("file", "stream"))


@sentence("attack: an archive that ends too early, is damaged, is followed by something, or is none")
def _(t):
    attacked(t)
    good = tar([directory("v/"), file("v/f", "x" * 2000)])
    for archive in (good[:700], good[:1500], good[:512] + b"\xff" + good[513:], good + tar([file("v/g", "x")]),
                    b"no tar at all" * 100, b""):
        refused(t, gz(archive), ways=("file", "stream"))
    refused(t, gz(good)[:-20], ways=("file", "stream"))
    refused(t, b"not compressed", ways=("file", "stream"))


@sentence("attack: a path deeper than any program can use, a name longer than a name can be")
def _(t):
    attacked(t)
    for name in ("v/" + "d/" * 300 + "f", "v/" + "n" * 256, "v/" + "/".join(["n" * 200] * 30)):
        refused(t, tar_gz([directory("v/"), file(name, "x")]), ways=("file", "stream"))


@sentence("attack: control characters in a name reach neither terminal nor log")
def _(t):
    attacked(t)
    package = t.sign(tar_gz([directory("v/"), entry("v/\x1b[2J\r\nINFO forged", tarfile.FIFOTYPE)]))
    done = t.install(package, "-l", t.at("tmp/log"))
    equal(done.code, 21)
    with open(t.at("tmp/log")) as f:
        log = f.read()
    for text in (done.err, log):
        check("\x1b" not in text and "\r" not in text, repr(text))
        check(not any(line.startswith("INFO forged") for line in text.splitlines()), text)


@sentence("attack: hostile, and its proof is wrong as well: status 20, for who sent it matters more than what is in it")
def _(t):
    attacked(t)
    with open(t.sign(tar_gz([directory("v/"), file("../outside/sentinel", "evil")])), "rb") as f:
        good = f.read()
    before, outside = t.seen(), t.outside()
    bad = good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
    for done in (t.install(t.write("package.gpg", bad)), t.install("-", stdin=bad)):
        equal(done.code, 20, repr(done))
        equal((t.seen(), t.outside(), t.litter()), (before, outside, []))


try:
    main(Device)
finally:
    Keys.close()
