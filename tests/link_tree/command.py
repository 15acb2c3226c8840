"""fussy-link-tree: the command line of link_tree()."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Workspace, check, equal, main, sentence, snapshot  # noqa: E402


class Trees(Workspace):
    def __init__(self):
        super().__init__()
        self.dist, self.target = self.at("dist"), self.at("target")
        self.write("dist/fw.conf", "text")
        self.write("dist/app/app.conf", "text")
        os.mkdir(self.target)

    def link(self, *argv, **named):
        return self.run("fussy-link-tree", *argv, **named)


@sentence("directory and target may be positional or options")
def _(t):
    for argv in [t.dist, t.target], ["-d", t.dist, "-t", t.target], ["--directory", t.dist, "--target", t.target]:
        done = t.link(*argv)
        equal((done.code, done.out, done.err), (0, "", ""), argv)
        equal(os.readlink(t.at("target/fw.conf")), t.at("dist/fw.conf"))
        os.unlink(t.at("target/fw.conf"))


@sentence("relative paths are those of the working directory")
def _(t):
    equal(t.link("dist", "target").code, 0)
    equal(os.readlink(t.at("target/app/app.conf")), t.at("dist/app/app.conf"))


@sentence("-v prints what is done and a count")
def _(t):
    equal(t.link("-v", t.dist, t.target).out.splitlines(), [
        f"create link {t.target}/fw.conf -> {t.dist}/fw.conf",
        f"make directory {t.target}/app",
        f"create link {t.target}/app/app.conf -> {t.dist}/app/app.conf",
        "2 created, 0 updated, 0 unchanged, 0 pruned",
    ])
    equal(t.link("--verbose", t.dist, t.target).out, "0 created, 0 updated, 2 unchanged, 0 pruned\n")


@sentence("--dry-run prints exactly what a run prints, and changes nothing")
def _(t):
    for options in [], ["-H"], ["-c"], ["-r", "-b"], ["-p"]:
        t.write("target/fw.conf", "mine")
        if options == ["-p"]:
            os.unlink(t.at("dist/app/app.conf"))
        before = snapshot(t.target)
        told = t.must("fussy-link-tree", "-n", *options, t.dist, t.target)
        equal(snapshot(t.target), before)
        equal(told.out, t.must("fussy-link-tree", "-v", *options, t.dist, t.target).out)
        check("unchanged" in told.out and len(told.out.splitlines()) > 1)


@sentence("-H makes hard links, -c copies, -r relative links; -H and -c together are refused")
def _(t):
    t.must("fussy-link-tree", "-H", t.dist, t.target)
    check(os.path.samefile(t.at("target/fw.conf"), t.at("dist/fw.conf")) and not os.path.islink(t.at("target/fw.conf")))
    t.must("fussy-link-tree", "-c", t.dist, t.target)
    check(not os.path.samefile(t.at("target/fw.conf"), t.at("dist/fw.conf")))
    t.must("fussy-link-tree", "--relative", t.dist, t.target)
    equal(os.readlink(t.at("target/app/app.conf")), "../../dist/app/app.conf")
    equal(t.link("-H", "-c", t.dist, t.target).code, 2)


@sentence("a directory in the way is exit status 2, says what, why and what to do, and nothing is changed")
def _(t):
    os.mkdir(t.at("target/fw.conf"))
    before = snapshot(t.path)
    done = t.link(t.dist, t.target)
    equal((done.code, done.out), (2, ""))
    check(done.err.startswith("fussy-link-tree: ") and f"{t.target}/fw.conf" in done.err and "move it away" in done.err, done.err)
    equal(snapshot(t.path), before)


@sentence("a missing distribution, or none at all, is exit status 2")
def _(t):
    for argv in [], ["missing", "target"], ["dist/fw.conf", "target"], ["dist", "target", "more"], ["--nonsense", "dist"]:
        done = t.link(*argv)
        equal(done.code, 2, argv)
        check(done.err.startswith("fussy-link-tree: "), done.err)


@sentence("control characters in names do not reach the terminal")
def _(t):
    t.write("dist/\x1b[2J", "")
    check("\x1b" not in t.must("fussy-link-tree", "-v", t.dist, t.target).out)


@sentence("twenty thousand links that are up to date are not touched")
def _(t):
    for d in range(100):
        os.makedirs(t.at("dist", "many", str(d)))
        for f in range(200):
            os.close(os.open(t.at("dist", "many", str(d), str(f)), os.O_CREAT))
    check(t.must("fussy-link-tree", "-v", t.dist, t.target).out.endswith("\n20002 created, 0 updated, 0 unchanged, 0 pruned\n"))
    before = snapshot(t.target)
    equal(t.must("fussy-link-tree", "-v", t.dist, t.target).out, "0 created, 0 updated, 20002 unchanged, 0 pruned\n")
    equal(snapshot(t.target), before)


main(Trees)
