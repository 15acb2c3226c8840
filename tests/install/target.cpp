// The target directory: odd beginnings (the table in docs/target-directory.md), cleaning, status, recovery.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "device.hpp"
#include "support/skip.hpp"

using namespace test;

namespace {

fs::path package(const std::string& label) {
  static std::map<std::string, fs::path> made;
  auto& path = made[label];
  if (path.empty()) path = vendor::of_all_tests().package("app-" + label, version_files(label));
  return path;
}
fs::path failing_package() {
  static const fs::path path = vendor::of_all_tests().package("app-bad", version_files("bad", 0, 1));
  return path;
}

struct ending {
  errc code;
  std::string message;
};
ending end_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const fussy::error& e) {
    return {e.code(), e.what()};
  }
  return {errc::success, {}};
}

void write_journal(const device& d, const install::journal_record& record) {
  fs::create_directories(d.target() / ".fussy/staging");
  write_file(d.target() / ".fussy/journal", install::format_journal(record));
}

}  // namespace

TEST_SUITE_BEGIN("install: target directory");

// ---- Odd beginnings -----------------------------------------------------------------------------------------------------

TEST_CASE("odd: `current` is a directory and there is no failsafe: it becomes failsafe") {
  device d;
  make_tree(d.target() / "current", version_files("factory"));
  SUBCASE("and the new version goes live") {
    const auto report = d.install(package("1"));
    CHECK(report.previous == "failsafe");
    CHECK(d.current() == "app-1");
  }
  SUBCASE("and is gone back to when the new version fails") {
    CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
    CHECK(d.current() == "failsafe");
  }
  SUBCASE("but not before the package is proven") {
    const std::string before = snapshot(d.target());
    write_file(d.directory() / "bad", "no package");
    CHECK(exit_status(end_of([&] { d.install(d.directory() / "bad"); }).code) == 20);
    CHECK(snapshot(d.target()) == before);
    return;
  }
  CHECK(d.read("failsafe/app") == "program factory");
  CHECK(d.litter().empty());
}

TEST_CASE("odd: `current` is a directory and failsafe exists: refused, nothing changes") {
  device d;
  make_tree(d.target() / "current", version_files("1"));
  make_tree(d.target() / "failsafe", version_files("f"));
  const std::string before = snapshot(d.target());
  CHECK(end_of([&] { d.install(package("1")); }).code == errc::target_unusable);
  CHECK(snapshot(d.target()) == before);
}

TEST_CASE("odd: `current` dangles: what is installed replaces it; failsafe is what a failure goes back to") {
  device d;
  fs::create_symlink("gone", d.target() / "current");
  SUBCASE("without failsafe") {
    CHECK(d.install(package("1")).previous.empty());
    CHECK(d.current() == "app-1");
    CHECK(d.log.find("WARNING") != std::string::npos);
  }
  SUBCASE("with failsafe") {
    make_tree(d.target() / "failsafe", version_files("f"));
    CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
    CHECK(d.current() == "failsafe");
  }
}

TEST_CASE("odd: `current` dangles to the very name that is installed: that is not live before it is enabled") {
  device d;
  std::string link;
  SUBCASE("") { link = "app-1"; }
  SUBCASE("") { link = "./app-1"; }
  SUBCASE("") { link = d.target() / "app-1"; }
  SUBCASE("by another link") {
    link = "x";
    fs::create_symlink("app-1", d.target() / "x");
  }
  CAPTURE(link);
  fs::create_symlink(link, d.target() / "current");
  install::options how = d.how();
  CHECK(install::install_bytes(package("1"), how).version == "app-1-1");
  CHECK(!fs::exists(d.target() / "current"));
  CHECK(d.install(package("1")).version == "app-1-2");
  CHECK(d.current() == "app-1-2");
}

TEST_CASE("odd: failsafe dangles to the very name that is installed: a failure does not go back to what failed") {
  device d;
  fs::create_symlink("app-bad", d.target() / "failsafe");
  CHECK(end_of([&] { d.install(failing_package()); }).code == errc::unrecoverable);
  CHECK(!fs::exists(d.target() / "failsafe"));
}

TEST_CASE("a name that is taken and has no room for a number is refused") {
  device d;
  const std::string name(255, 'n');
  const fs::path long_named = vendor::of_all_tests().package(name, {{"app", "1"}});
  CHECK(d.install(long_named).version == name);
  CHECK(end_of([&] { d.install(long_named); }).code == errc::bad_root);
  CHECK(d.current() == name);
}

TEST_CASE("odd: `current` is a link to a file: as one that dangles") {
  device d;
  write_file(d.target() / "file", "x");
  fs::create_symlink("file", d.target() / "current");
  CHECK(d.install(package("1")).previous.empty());
  CHECK(d.current() == "app-1");
}

TEST_CASE("odd: `current` is a link to itself: as one that dangles") {
  device d;
  fs::create_symlink("current", d.target() / "current");
  CHECK(d.install(package("1")).previous.empty());
  CHECK(d.current() == "app-1");
}

TEST_CASE("odd: `current` is an absolute link, or one by detours: understood, and relative from the next switch on") {
  device d;
  make_tree(d.target() / "v0", version_files("0"));
  SUBCASE("absolute, as the original made it") { fs::create_symlink(d.target() / "v0", d.target() / "current"); }
  SUBCASE("with a slash") { fs::create_symlink("v0/", d.target() / "current"); }
  SUBCASE("with a dot") { fs::create_symlink("./v0", d.target() / "current"); }
  SUBCASE("by another link") {
    fs::create_symlink("v0", d.target() / "latest");
    fs::create_symlink("latest", d.target() / "current");
  }
  CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
  CHECK(d.current() == "v0");
  CHECK(d.install(package("1")).previous == "v0");
  CHECK(d.current() == "app-1");
  CHECK(d.has("v0/app"));
}

TEST_CASE("odd: `current` leads out of the target, to the target itself, or into a version: refused") {
  device d;
  make_tree(d.directory() / "elsewhere", version_files("x"));
  make_tree(d.target() / "v0", version_files("0"));
  SUBCASE("out, absolute") { fs::create_symlink(d.directory() / "elsewhere", d.target() / "current"); }
  SUBCASE("out, relative") { fs::create_symlink("../elsewhere", d.target() / "current"); }
  SUBCASE("the target") { fs::create_symlink(".", d.target() / "current"); }
  SUBCASE("into a version") { fs::create_symlink("v0/lib", d.target() / "current"); }
  const std::string before = snapshot(d.target());
  CHECK(end_of([&] { d.install(package("1")); }).code == errc::target_unusable);
  CHECK(end_of([&] { install::enable("v0", d.how()); }).code == errc::target_unusable);
  CHECK(end_of([&] { install::clean(d.how()); }).code == errc::target_unusable);
  CHECK(snapshot(d.target()) == before);
}

TEST_CASE("odd: `current` is a file or a fifo: refused") {
  device d;
  SUBCASE("a file") { write_file(d.target() / "current", ""); }
  SUBCASE("a fifo") { REQUIRE(::mkfifo((d.target() / "current").c_str(), 0600) == 0); }
  CHECK(end_of([&] { d.install(package("1")); }).code == errc::target_unusable);
  CHECK_FALSE(d.has("app-1"));
}

TEST_CASE("odd: failsafe is a link to a version: it is a way back, and that version is never cleaned away") {
  device d;
  make_tree(d.target() / "v0", version_files("0"));
  fs::create_symlink("v0", d.target() / "failsafe");
  SUBCASE("a failing first install goes back to it") {
    CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
    CHECK(d.current() == "failsafe");
    CHECK(d.read("current/app") == "program 0");
  }
  SUBCASE("clean keeps it") {
    d.install(package("1"));
    d.install(package("2"));
    CHECK(install::clean(d.how()) == std::vector<std::string>{"app-1"});
    CHECK(d.has("v0/app"));
    CHECK(d.has("failsafe"));
  }
}

TEST_CASE("odd: failsafe dangles or is a file: it is no way back, and stays as it is") {
  device d;
  SUBCASE("dangling") { fs::create_symlink("gone", d.target() / "failsafe"); }
  SUBCASE("a file") { write_file(d.target() / "failsafe", "x"); }
  const std::string before = snapshot(d.target());
  const fs::path bad = vendor::of_all_tests().package("app", version_files("x", 1, 0));
  CHECK(end_of([&] { d.install(bad); }).code == errc::unrecoverable);
  CHECK(snapshot(d.target()) == before);
  CHECK(d.current().empty());
}

TEST_CASE("odd: what is ours below .fussy is of another type: refused, and nothing waits for it") {
  device d;
  d.install(package("1"));
  std::string name;
  SUBCASE("staging is a file") {
    fs::remove(d.target() / ".fussy/staging");
    write_file(d.target() / ".fussy" / (name = "staging"), "");
  }
  SUBCASE("staging is a link out") {
    fs::remove(d.target() / ".fussy/staging");
    fs::create_symlink("/tmp", d.target() / ".fussy" / (name = "staging"));
  }
  SUBCASE("the journal is a directory") { fs::create_directory(d.target() / ".fussy" / (name = "journal")); }
  const auto refused = [&](const std::function<void()>& run) {
    const ending end = end_of(run);
    CHECK(end.code == errc::target_unusable);
    CHECK(end.message.find(".fussy/" + name) != std::string::npos);
    CHECK(end.message.find("remove it") != std::string::npos);
  };
  refused([&] { d.install(package("2")); });
  refused([&] { install::recover(d.how()); });
  refused([&] { install::clean(d.how()); });
  const auto seen = install::inspect(package("2"), d.how());
  REQUIRE(seen.hindrance.has_value());
  CHECK(seen.hindrance->code() == errc::target_unusable);
  CHECK(install::status(d.target()).journal_damaged == (name == "journal"));
  CHECK(d.current() == "app-1");
  CHECK_FALSE(d.has("app-2"));
  fs::remove(d.target() / ".fussy" / name);
  d.install(package("2"));
  CHECK(d.current() == "app-2");
}

TEST_CASE("odd: the journal is a fifo, a device or a link: damaged, nothing waits for it or follows it") {
  device d;
  d.install(package("1"));
  const fs::path journal = d.target() / ".fussy/journal", outside = d.directory() / "outside";
  SUBCASE("a fifo without a writer") { REQUIRE(::mkfifo(journal.c_str(), 0600) == 0); }
  SUBCASE("a link") {
    write_file(outside, install::format_journal({.at = install::step::staged, .version = "app-1", .published = true}));
    fs::create_symlink(outside, journal);
  }
  SUBCASE("a device") {
    if (::mknod(journal.c_str(), S_IFCHR | 0600, makedev(1, 5)) != 0) return test::skip_part("no right to mknod(2)");
  }
  CHECK(install::status(d.target()).journal_damaged);
  d.install(package("2"));
  CHECK(d.current() == "app-2");
  CHECK(d.has("app-1"));
  CHECK_FALSE(install::status(d.target()).journal_damaged);
  CHECK(d.litter().empty());
}

TEST_CASE("odd: the target is a link to a directory: fine, and hooks see the name that was given") {
  device d;
  const fs::path link = d.directory() / "link";
  fs::create_directory_symlink(d.target(), link);
  install::options how = d.how();
  how.target = link;
  CHECK(install::install(package("1"), how).path == link / "app-1");
  CHECK(d.current() == "app-1");
}

TEST_CASE("a moved target works: nothing in it knows where it is") {
  device d;
  d.install(package("1"));
  const fs::path moved = d.directory() / "moved";
  fs::rename(d.target(), moved);
  install::options how = d.how();
  how.target = moved;
  CHECK(content_of_file(moved / "current/app") == "program 1");
  CHECK(install::install(package("2"), how).previous == "app-1");
}

// ---- Cleaning -----------------------------------------------------------------------------------------------------------

TEST_CASE("clean removes every version but current and failsafe; hidden entries stay, links are not followed") {
  device d;
  make_tree(d.target() / "failsafe", version_files("f"));
  make_tree(d.directory() / "outside", version_files("x"));
  d.install(package("1"));
  d.install(package("2"));
  fs::create_directory_symlink(d.directory() / "outside", d.target() / "link");
  write_file(d.target() / "file", "x");
  write_file(d.target() / ".hidden", "x");
  CHECK(install::clean(d.how()) == std::vector<std::string>{"app-1", "file", "link"});
  CHECK(d.current() == "app-2");
  CHECK(d.read("app-2/app") == "program 2");
  CHECK(d.read("app-2/lib/data") == "data that never changes");  // was shared with what went
  CHECK(d.has("failsafe/app"));
  CHECK(d.has(".hidden"));
  CHECK(fs::exists(d.directory() / "outside/app"));
  CHECK(d.litter().empty());
  CHECK(install::clean(d.how()).empty());
}

TEST_CASE("clean --keep N keeps the versions that were installed last, besides those always kept") {
  device d;
  for (int i = 1; i <= 5; ++i) d.install(package(std::to_string(i % 3)));  // app-1 app-2 app-0 app-1-1 app-2-1
  CHECK(install::clean(d.how(), 2) == std::vector<std::string>{"app-1", "app-2"});
  CHECK(d.has("app-0"));
  CHECK(d.has("app-1-1"));
  CHECK(d.current() == "app-2-1");
  CHECK(install::clean(d.how(), 1) == std::vector<std::string>{"app-0"});
  CHECK(install::clean(d.how(), 9).empty());
}

TEST_CASE("clean --keep keeps the way back first, and never what failed") {
  device d;
  for (const std::string label : {"0", "1"}) d.install(package(label));
  CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
  d.install(package("2"));
  install::install_bytes(package("1"), d.how());  // app-1-1: newer than what was live before
  CHECK(install::status(d.target()).previous == "app-1");
  SUBCASE("one: what was live before") {
    CHECK(install::clean(d.how(), 1) == std::vector<std::string>{"app-0", "app-1-1", "app-bad"});
    install::enable("app-1", d.how());
    CHECK(d.current() == "app-1");
  }
  SUBCASE("two: and the newest") {
    CHECK(install::dry_run_clean(d.how(), 2).versions == std::vector<std::string>{"app-0", "app-bad"});
    CHECK(install::clean(d.how(), 2) == std::vector<std::string>{"app-0", "app-bad"});
  }
}

TEST_CASE("enabling what is live already leaves the way back as it was") {
  device d;
  for (const std::string label : {"1", "2"}) d.install(package(label));
  install::enable("app-2", d.how());
  CHECK(install::status(d.target()).previous == "app-1");
  install::enable("app-1", d.how());
  CHECK(install::status(d.target()).previous == "app-2");
}

TEST_CASE("gotcha: an old version whose application writes into it does not count as new for that") {
  device d;
  struct statx born {};
  REQUIRE(::statx(AT_FDCWD, d.target().c_str(), 0, STATX_BTIME, &born) == 0);
  if ((born.stx_mask & STATX_BTIME) == 0) return;  // this file system does not keep when a directory was made
  for (const std::string label : {"1", "2", "3"}) d.install(package(label));
  write_file(d.target() / "app-1/cache", "written by the application");
  CHECK(install::clean(d.how(), 1) == std::vector<std::string>{"app-1"});
  CHECK(d.has("app-2"));
}

TEST_CASE("clean refuses when current is missing or dangling: nothing says what to keep") {
  device d;
  make_tree(d.target() / "v0", version_files("0"));
  CHECK(end_of([&] { install::clean(d.how()); }).code == errc::target_unusable);
  fs::create_symlink("gone", d.target() / "current");
  CHECK(end_of([&] { install::clean(d.how()); }).code == errc::target_unusable);
  CHECK(d.has("v0/app"));
}

TEST_CASE("clean removes trees deeper than a path may be long") {
  device d;
  d.install(package("1"));
  unique_fd at = open_file(d.target(), O_RDONLY | O_DIRECTORY);
  const std::string name(200, 'd');
  REQUIRE(::mkdirat(at.get(), "deep", 0755) == 0);
  at.reset(::openat(at.get(), "deep", O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < 60; ++i) {  // 12 000 octets
    REQUIRE(::mkdirat(at.get(), name.c_str(), 0555) == 0);
    at.reset(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
  }
  at.reset();
  CHECK(install::clean(d.how()) == std::vector<std::string>{"deep"});
  CHECK(d.litter().empty());
}

// ---- Status -------------------------------------------------------------------------------------------------------------

TEST_CASE("status of a fresh target: nothing, and nothing is made in it") {
  device d;
  const auto s = install::status(d.target());
  CHECK(s.current.empty());
  CHECK(s.versions.empty());
  CHECK_FALSE(d.has(".fussy"));
  CHECK(end_of([&] { install::status(d.directory() / "missing"); }).code == errc::target_unusable);
}

TEST_CASE("status says what is live, what was before, what failsafe is, and what each costs") {
  device d;
  make_tree(d.target() / "failsafe", version_files("f"));
  const std::string big(1 << 20, 'b');
  const fs::path one = vendor::of_all_tests().package("one", {{"big", big}, {"own", std::string(100'000, '1')}});
  const fs::path two = vendor::of_all_tests().package("two", {{"big", big}, {"own", std::string(200'000, '2')}});
  d.install(one);
  d.install(two);
  const auto s = install::status(d.target());
  CHECK(s.current == "two");
  CHECK(s.previous == "one");
  CHECK(s.failsafe == "failsafe");
  CHECK_FALSE(s.in_flight.has_value());
  CHECK_FALSE(s.busy.has_value());
  REQUIRE(s.versions.size() == 3);
  CHECK(s.versions[0].failsafe);
  CHECK(s.versions[1].name == "one");
  CHECK(s.versions[1].previous);
  CHECK(s.versions[2].current);
  for (const int i : {1, 2}) {
    CHECK(s.versions[i].files == 2);
    CHECK(s.versions[i].shared >= (1u << 20));
    CHECK(s.versions[i].shared < (1u << 20) + 65536);
    CHECK(s.versions[i].own >= 100'000u * i);
    CHECK(s.versions[i].own < 100'000u * i + 65536);
  }
}

TEST_CASE("status says which version failed last, until it works or is gone") {
  device d;
  d.install(package("1"));
  const auto failed = [&] {
    std::string names;
    for (const auto& v : install::status(d.target()).versions)
      if (v.failed) names += v.name + " ";
    return names;
  };
  CHECK(failed().empty());
  CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
  CHECK(failed() == "app-bad ");
  SUBCASE("another one that fails is the last one then") {
    CHECK(end_of([&] { d.install(failing_package()); }).code == errc::reverted);
    CHECK(failed() == "app-bad-1 ");
  }
  SUBCASE("an install that goes well does not change what it was") {
    d.install(package("2"));
    CHECK(failed() == "app-bad ");
  }
  SUBCASE("it works, now that what it lacked is there") {
    const fs::path hook = d.target() / "app-bad/.post-install";
    write_file(hook, "#!/bin/sh\n");
    fs::permissions(hook, fs::perms::owner_all);
    install::enable("app-bad", d.how());
    CHECK(failed().empty());
    install::enable("app-1", d.how());
    CHECK(failed().empty());
  }
  SUBCASE("one that was there before and was cancelled, or failed before it was live, has not failed as a version") {
    install::clean(d.how());
    d.install(package("2"));
    write_file(d.target() / "app-1/.pre-install", "#!/bin/sh\n[ \"$2\" = True ]\n");
    fs::permissions(d.target() / "app-1/.pre-install", fs::perms::owner_all);
    CHECK(end_of([&] { install::enable("app-1", d.how()); }).code == errc::reverted);
    CHECK(failed().empty());
    install::options how = d.how();
    std::stop_source stop;
    how.stop = stop.get_token();
    how.progress = [&](const progress& p) {
      if (p.at == phase::pre_install) stop.request_stop();
    };
    CHECK(end_of([&] { install::enable("app-1", how); }).code == errc::cancelled);
    CHECK(d.has("app-1"));
    CHECK(failed().empty());
    CHECK(install::clean(d.how(), 1).empty());
  }
  SUBCASE("it is removed by hand, and another one gets its name") {
    fs::remove_all(d.target() / "app-bad");
    CHECK(install::status(d.target()).failed.empty());
    install::install_bytes(failing_package(), d.how());
    CHECK(d.has("app-bad"));
    CHECK(failed().empty());
  }
  SUBCASE("it is cleaned away, and another one gets its name") {
    install::clean(d.how());
    install::install_bytes(failing_package(), d.how());
    CHECK(failed().empty());
  }
  SUBCASE("one that never was live is removed and leaves no mark") {
    install::clean(d.how());
    const fs::path early = vendor::of_all_tests().package("app-early", version_files("early", 1, 0));
    CHECK(end_of([&] { d.install(early); }).code == errc::reverted);
    CHECK_FALSE(d.has("app-early"));
    CHECK(failed().empty());
  }
  CHECK(d.litter().empty());
}

// ---- Recovery -----------------------------------------------------------------------------------------------------------

TEST_CASE("recover on a target that was never used, or is at rest, does nothing") {
  device d;
  CHECK(install::recover(d.how()).what == install::recovered::nothing);
  CHECK_FALSE(d.has(".fussy"));
  d.install(package("1"));
  const std::string before = snapshot(d.target());
  CHECK(install::recover(d.how()).what == install::recovered::nothing);
  CHECK(snapshot(d.target()) == before);
}

TEST_CASE("invariant 6: each state a crash can leave is recovered from, and status shows it before") {
  device d;
  d.install(package("1"));
  fs::remove(d.directory() / "notes");
  make_tree(d.target() / "app-2", version_files("2"));
  install::journal_record record{.version = "app-2", .previous = "app-1", .published = true};
  const auto relink = [&](const char* text) {
    fs::remove(d.target() / "current");
    fs::create_symlink(text, d.target() / "current");
  };
  const auto notes = [&] { return content_of_file(d.directory() / "notes"); };

  SUBCASE("staged, no hook has begun: removed") {
    record.at = install::step::staged;
    write_journal(d, record);
    CHECK(install::status(d.target()).in_flight == record);
    CHECK(install::recover(d.how()).what == install::recovered::undone);
    CHECK_FALSE(d.has("app-2"));
    CHECK(notes().empty());
  }
  SUBCASE("staged, its .pre-install had begun: removed, previous is enabled again") {
    record.at = install::step::staged, record.hooks = true;
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::restored);
    CHECK_FALSE(d.has("app-2"));
    CHECK(notes() == ".pre-install app-1 True\n.post-install app-1 True\n");
  }
  SUBCASE("switching, before the switch: as before") {
    record.at = install::step::switching, record.hooks = true;
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::restored);
    CHECK(d.current() == "app-1");
    CHECK_FALSE(d.has("app-2"));
  }
  SUBCASE("switching, behind the switch: finished") {
    record.at = install::step::switching, record.hooks = true;
    relink("app-2");
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::finished);
    CHECK(d.current() == "app-2");
    CHECK(notes() == ".post-install app-2 False\n");
  }
  SUBCASE("switched, its .post-install may have run: run once more") {
    record.at = install::step::switched, record.hooks = true;
    relink("app-2");
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::finished);
    CHECK(notes() == ".post-install app-2 False\n");
  }
  SUBCASE("switched, and recovery has crashed on it: restored") {
    record.at = install::step::switched, record.hooks = true, record.attempt = 1;
    relink("app-2");
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::restored);
    CHECK(d.current() == "app-1");
    CHECK(d.has("app-2"));
    CHECK(notes() == ".pre-install app-1 True\n.post-install app-1 True\n");
  }
  SUBCASE("restoring: goes on") {
    record.at = install::step::restoring, record.restoring = "app-1", record.discard = true;
    write_journal(d, record);
    CHECK(install::recover(d.how()).what == install::recovered::restored);
    CHECK(d.current() == "app-1");
    CHECK_FALSE(d.has("app-2"));
  }
  SUBCASE("a damaged journal: every version is kept, current decides") {
    fs::create_directories(d.target() / ".fussy/staging");
    write_file(d.target() / ".fussy/journal", "\0\0\0\0");
    CHECK(install::status(d.target()).journal_damaged);
    CHECK(install::recover(d.how()).what == install::recovered::nothing);
    CHECK(d.current() == "app-1");
    CHECK(d.has("app-2"));
  }
  SUBCASE("litter alone: removed") {
    fs::remove_all(d.target() / "app-2");
    make_tree(d.target() / ".fussy/staging/77/app-9", version_files("9"));
    write_file(d.target() / ".fussy/journal.new", "half");
    CHECK(install::recover(d.how()).what == install::recovered::nothing);
  }
  CHECK(d.litter().empty());
  CHECK_FALSE(install::status(d.target()).in_flight.has_value());
  CHECK(install::recover(d.how()).what == install::recovered::nothing);
}

TEST_CASE("recovery after a crash takes less than 100 ms beyond the hooks") {
  device d;
  d.install(package("1"));
  install::journal_record record{.version = "app-2", .previous = "app-1", .published = true};
  double best = 1e9;
  for (int i = 0; i < 50 && best >= 100; ++i) {  // the best of some: others use the machine, too
    files many = {{"app", "x"}};
    for (int f = 0; f < 100; ++f) many["dir" + std::to_string(f % 20) + "/file" + std::to_string(f)] = "content";
    make_tree(d.target() / "app-2", many);
    record.at = install::step::staged;
    write_journal(d, record);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(install::recover(d.how()).what == install::recovered::undone);
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  MESSAGE("recovered in " << best << " ms, 100 files removed");
  CHECK(best < 100);
}

TEST_CASE("every command that changes a target recovers it first") {
  device d;
  d.install(package("1"));
  make_tree(d.target() / "app-2", version_files("2"));
  const auto crash = [&] {
    make_tree(d.target() / "half", version_files("h"));
    write_journal(d, {.at = install::step::staged, .version = "half", .previous = "app-1", .published = true});
  };
  crash();
  CHECK(d.install(package("3")).recovered.what == install::recovered::undone);
  CHECK_FALSE(d.has("half"));
  crash();
  install::install_bytes(package("4"), d.how());
  CHECK_FALSE(d.has("half"));
  crash();
  install::enable("app-4", d.how());
  CHECK_FALSE(d.has("half"));
  crash();
  install::clean(d.how());
  CHECK_FALSE(d.has("half"));
}

TEST_CASE("a recovery that finds no way back does not stop the install that repairs it") {
  device d;
  make_tree(d.target() / "app-2", version_files("2", 1, 1));
  fs::create_symlink("app-2", d.target() / "current");
  write_journal(d, {.at = install::step::switched, .version = "app-2", .published = true, .hooks = true});
  SUBCASE("recover says so") {
    CHECK(end_of([&] { install::recover(d.how()); }).code == errc::unrecoverable);
  }
  SUBCASE("install goes on") {
    CHECK(d.install(package("1")).recovered.what == install::recovered::unrecoverable);
    CHECK(d.current() == "app-1");
  }
  CHECK(d.litter().empty());
}

// ---- The journal --------------------------------------------------------------------------------------------------------

TEST_CASE("a journal comes back as it was written, whatever names versions have") {
  for (const std::string name : {"app", "with space", "per%cent", "new\nline", "\x01\x7f", "ünïcode", ""}) {
    const install::journal_record record{.at = install::step::restoring,
                                         .version = name,
                                         .previous = "p" + name,
                                         .restoring = name,
                                         .published = true,
                                         .hooks = true,
                                         .discard = true,
                                         .attempt = 3};
    CHECK(install::parse_journal(install::format_journal(record)) == record);
  }
}

TEST_CASE("a journal that was cut, changed or comes from a newer fussy is none") {
  const std::string text = install::format_journal({.version = "app", .previous = "old"});
  REQUIRE(install::parse_journal(text).has_value());
  for (std::size_t n = 0; n < text.size(); ++n) CHECK_FALSE(install::parse_journal(text.substr(0, n)).has_value());
  CHECK_FALSE(install::parse_journal(text + "more").has_value());
  for (const auto& [from, to] : std::map<std::string, std::string>{{"journal 1", "journal 2"},
                                                                   {"staged", "stoged"},
                                                                   {"app", "../app"},
                                                                   {"attempt 0", "attempt x"},
                                                                   {"hooks 0", "hooks 2"}}) {
    std::string other = text;
    other.replace(other.find(from), from.size(), to);
    CHECK_FALSE(install::parse_journal(other).has_value());
  }
}

TEST_SUITE_END();
