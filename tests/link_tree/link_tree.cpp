// link_tree: a tree of links into a distribution.
#include <doctest/doctest.h>
#include <fussy/link_tree.hpp>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/child.hpp"
#include "support/skip.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using test::code_of;
using test::message_of;
using test::temporary_directory;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& text = "text\n") {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}
std::string content_of(const fs::path& file) {
  std::ifstream in(file);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
std::string link_of(const fs::path& link) { return fs::read_symlink(link).string(); }

struct stat lstat_of(const fs::path& path) {
  struct stat s {};
  REQUIRE(::lstat(path.c_str(), &s) == 0);
  return s;
}

/// What a user could tell apart: names, inodes, times, modes, texts.
auto snapshot(const fs::path& directory) {
  std::map<std::string, std::tuple<ino_t, mode_t, std::int64_t, std::int64_t, std::string>> all;
  const auto add = [&](const fs::path& path) {
    const struct stat s = lstat_of(path);
    all[path.string()] = {s.st_ino, s.st_mode, s.st_mtim.tv_sec, s.st_mtim.tv_nsec,
                          S_ISLNK(s.st_mode)   ? link_of(path)
                          : S_ISREG(s.st_mode) ? content_of(path)
                                               : std::string()};
  };
  add(directory);
  for (const auto& e : fs::recursive_directory_iterator(directory)) add(e.path());
  return all;
}

std::vector<std::string> steps_of(const fs::path& from, const fs::path& to, link_tree_options options) {
  std::vector<std::string> lines;
  options.on_step = [&](const link_step& step) { lines.push_back(describe(step)); };
  link_tree(from, to, options);
  return lines;
}

/// A distribution `dist` with a file, one in directories, and links; an empty `target`.
struct two_trees : temporary_directory {
  two_trees() {
    write(dist / "fw.conf");
    write(dist / "app" / "deep" / "app.conf");
    fs::create_symlink("fw.conf", dist / "relative");
    fs::create_symlink("../fw.conf", dist / "app" / "up");
    fs::create_symlink("/absolute/text", dist / "absolute");
    fs::create_directory(target);
  }
  const fs::path dist = path() / "dist", target = path() / "target";
};

void check_counts(const link_tree_report& r, std::size_t created, std::size_t updated, std::size_t unchanged) {
  CHECK(r.created == created);
  CHECK(r.updated == updated);
  CHECK(r.unchanged == unchanged);
}

/// Linux tells since 5.8; qemu-user says so and gives the same for all.
std::uint64_t mount_of(const fs::path& path) {
  struct statx st {};
  REQUIRE(::statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &st) == 0);
  return st.stx_mnt_id;
}

}  // namespace

TEST_SUITE_BEGIN("link_tree");

TEST_CASE("files are linked by absolute path, directories are made, links are recreated") {
  two_trees t;
  REQUIRE(::chmod((t.dist / "app").c_str(), 02750) == 0);
  const link_tree_report r = link_tree(t.dist, t.target);
  check_counts(r, 5, 0, 0);
  CHECK(r.directories == 2);
  CHECK(link_of(t.target / "fw.conf") == (t.dist / "fw.conf").string());
  CHECK(link_of(t.target / "app" / "deep" / "app.conf") == (t.dist / "app" / "deep" / "app.conf").string());
  CHECK(content_of(t.target / "app" / "deep" / "app.conf") == "text\n");
  CHECK(fs::is_directory(fs::symlink_status(t.target / "app")));
  CHECK((lstat_of(t.target / "app").st_mode & 07777) == 02750);
  CHECK(link_of(t.target / "absolute") == "/absolute/text");
  // A relative text is resolved against the final directory.
  CHECK(link_of(t.target / "relative") == (t.target / "fw.conf").string());
  CHECK(link_of(t.target / "app" / "up") == (t.target / "fw.conf").string());
}

TEST_CASE("the second run changes nothing, not even the time of a directory") {
  two_trees t;
  link_tree_options options;
  SUBCASE("symbolic") {}
  SUBCASE("relative") { options.relative = true; }
  SUBCASE("hard") { options.kind = link_kind::hard; }
  SUBCASE("copy") { options.kind = link_kind::copy; }
  SUBCASE("with prune and backup") { options.prune = options.backup = true; }
  link_tree(t.dist, t.target, options);
  const auto before = snapshot(t.target);
  check_counts(link_tree(t.dist, t.target, options), 0, 0, 5);
  CHECK(snapshot(t.target) == before);
}

TEST_CASE("the target is made when missing, with its parents") {
  two_trees t;
  link_tree(t.dist, t.target / "a" / "b");
  CHECK(link_of(t.target / "a" / "b" / "fw.conf") == (t.dist / "fw.conf").string());
}

TEST_CASE("a link through `current` follows an upgrade") {
  temporary_directory dir;
  write(dir / "v1" / "etc" / "fw.conf", "one");
  write(dir / "v2" / "etc" / "fw.conf", "two");
  fs::create_symlink("v1", dir / "current");
  link_tree(dir / "current" / "etc", dir / "etc");
  CHECK(link_of(dir / "etc" / "fw.conf") == (dir / "current" / "etc" / "fw.conf").string());
  CHECK(content_of(dir / "etc" / "fw.conf") == "one");
  fs::remove(dir / "current");
  fs::create_symlink("v2", dir / "current");
  CHECK(content_of(dir / "etc" / "fw.conf") == "two");
  check_counts(link_tree(dir / "current" / "etc", dir / "etc"), 0, 0, 1);
}

TEST_CASE("paths may be relative, with dots and slashes; links are the same") {
  two_trees t;
  const fs::path before = fs::current_path();
  fs::current_path(t.path());
  link_tree("dist/./", "./target//");
  CHECK(link_of(t.target / "fw.conf") == (t.dist / "fw.conf").string());
  fs::create_directory_symlink(t.dist / "app" / "deep", t / "elsewhere");
  check_counts(link_tree("elsewhere/../../../dist", "target"), 0, 0, 0 + 5);  // `..` of where the link leads to
  CHECK(link_of(t.target / "fw.conf") == (t.dist / "fw.conf").string());
  fs::current_path(before);
}

TEST_CASE("what is there is replaced, whatever it is, unless it is a directory") {
  two_trees t;
  write(t.target / "fw.conf", "mine");
  fs::create_symlink("/nowhere", t.target / "absolute");
  REQUIRE(::mkfifo((t.target / "relative").c_str(), 0600) == 0);
  const auto source = snapshot(t.dist);
  check_counts(link_tree(t.dist, t.target), 2, 3, 0);
  CHECK(link_of(t.target / "fw.conf") == (t.dist / "fw.conf").string());
  CHECK(link_of(t.target / "absolute") == "/absolute/text");
  CHECK(snapshot(t.dist) == source);
}

TEST_CASE("a directory in the way is refused before anything is changed") {
  two_trees t;
  fs::create_directories(t.target / "fw.conf" / "mine");
  SUBCASE("only that") {}
  SUBCASE("with backup") {}
  const auto before = snapshot(t.target);
  CHECK(code_of([&] { link_tree(t.dist, t.target, {.backup = true}); }) == errc::io);
  CHECK(message_of([&] { link_tree(t.dist, t.target); }).find("will not replace " + (t.target / "fw.conf").string()) ==
        0);
  CHECK(code_of([&] { link_tree(t.dist, t.target, {.dry_run = true}); }) == errc::io);
  CHECK(snapshot(t.target) == before);
}

TEST_CASE("a file or dangling link where a directory has to be is refused before anything is changed") {
  two_trees t;
  SUBCASE("a file") { write(t.target / "app", "mine"); }
  SUBCASE("a dangling link") { fs::create_symlink("/nowhere", t.target / "app"); }
  const auto before = snapshot(t.target);
  CHECK(code_of([&] { link_tree(t.dist, t.target); }) == errc::io);
  CHECK(snapshot(t.target) == before);
}

TEST_CASE("several conflicts are counted") {
  two_trees t;
  fs::create_directory(t.target / "fw.conf");
  fs::create_directory(t.target / "relative");
  CHECK(message_of([&] { link_tree(t.dist, t.target); }).find("(and 1 more like this)") != std::string::npos);
}

TEST_CASE("a symbolic link to a directory is as good as a directory, as with /lib and /usr/lib") {
  two_trees t;
  fs::create_directories(t.target / "usr" / "app");
  fs::create_directory_symlink("usr/app", t.target / "app");
  for (const bool relative : {false, true}) {
    link_tree(t.dist, t.target, {.relative = relative});
    CHECK(link_of(t.target / "app") == "usr/app");
    CHECK(content_of(t.target / "usr" / "app" / "deep" / "app.conf") == "text\n");
  }
  CHECK(link_of(t.target / "usr" / "app" / "deep" / "app.conf") == "../../../../dist/app/deep/app.conf");
}

TEST_CASE("gotcha: a target that leads back into the distribution does not turn its files into links to themselves") {
  two_trees t;
  fs::create_directory_symlink(t.dist / "app", t.target / "app");  // as stow(8) links a whole directory
  const auto before = snapshot(t.path());
  CHECK(code_of([&] { link_tree(t.dist, t.target); }) == errc::io);
  CHECK(snapshot(t.path()) == before);
}

TEST_CASE("a target inside of the distribution is refused") {
  two_trees t;
  CHECK(code_of([&] { link_tree(t.dist, t.dist); }) == errc::usage);
  CHECK(code_of([&] { link_tree(t.dist, t.dist / "new"); }) == errc::usage);
  fs::create_directory_symlink(t.dist / "app", t / "door");
  CHECK(code_of([&] { link_tree(t.dist, t / "door" / "x"); }) == errc::usage);
  CHECK_FALSE(fs::exists(t.dist / "new"));
}

TEST_CASE("a distribution inside of the target is fine, as with /") {
  temporary_directory root;
  write(root / "opt" / "fw" / "etc" / "fw.conf");
  for (const bool prune : {false, true}) link_tree(root / "opt" / "fw", root.path(), {.prune = prune});
  CHECK(link_of(root / "etc" / "fw.conf") == (root / "opt" / "fw" / "etc" / "fw.conf").string());
}

TEST_CASE("what cannot be used is refused") {
  two_trees t;
  CHECK(code_of([&] { link_tree(t / "missing", t.target); }) == errc::not_found);
  CHECK(code_of([&] { link_tree(t.dist / "fw.conf", t.target); }) == errc::usage);
  CHECK(code_of([&] { link_tree(t.dist, t.dist.parent_path() / "dist" / ".." / "dist"); }) == errc::usage);
  CHECK(code_of([&] { link_tree("", t.target); }) != errc::success);
  write(t / "file");
  CHECK(code_of([&] { link_tree(t.dist, t / "file"); }) == errc::usage);
}

TEST_CASE("names may have any octets, and hidden files are linked as well") {
  temporary_directory t;
  const std::vector<std::string> names{".hidden", "with space", "new\nline", "\xff\xfe", "-n", std::string(255, 'x')};
  for (const std::string& n : names) write(t / "dist" / n, n);
  for (const link_kind kind : {link_kind::symbolic, link_kind::hard, link_kind::copy, link_kind::symbolic}) {
    link_tree(t / "dist", t / "target", {.kind = kind});
    for (const std::string& n : names) CHECK(content_of(t / "target" / n) == n);
  }
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("link_tree: hard links and copies");

TEST_CASE("hard links share the inode") {
  two_trees t;
  check_counts(link_tree(t.dist, t.target, {.kind = link_kind::hard}), 5, 0, 0);
  CHECK(lstat_of(t.target / "fw.conf").st_ino == lstat_of(t.dist / "fw.conf").st_ino);
  CHECK(fs::is_symlink(t.target / "relative"));
}

TEST_CASE("between file systems a hard link becomes a copy") {
  two_trees t;
  struct stat here = lstat_of(t.path()), shm;
  if (::stat("/dev/shm", &shm) != 0 || shm.st_dev == here.st_dev || ::access("/dev/shm", W_OK) != 0)
    return test::skip("/dev/shm is no other file system");
  std::string other = "/dev/shm/fussy-test-XXXXXX";
  REQUIRE(::mkdtemp(other.data()) != nullptr);
  const link_tree_options hard{.kind = link_kind::hard};
  const auto told = steps_of(t.dist, other, {.kind = link_kind::hard, .dry_run = true});
  CHECK(told == steps_of(t.dist, other, hard));
  CHECK(content_of(fs::path(other) / "fw.conf") == "text\n");
  CHECK(lstat_of(fs::path(other) / "fw.conf").st_ino != lstat_of(t.dist / "fw.conf").st_ino);
  check_counts(link_tree(t.dist, other, hard), 0, 0, 5);
  write(t.dist / "fw.conf", "TEXT\n");
  check_counts(link_tree(t.dist, other, hard), 0, 1, 4);
  fs::remove_all(other);
}

TEST_CASE("gotcha: behind a bind mount of the same device a hard link becomes a copy, once") {
  two_trees t;
  write(t / "elsewhere" / "mine");
  test::child container([&](int) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount((t / "elsewhere").c_str(), t.target.c_str(), nullptr, MS_BIND, nullptr) != 0)
      return 77;
    const link_tree_options hard{.kind = link_kind::hard};
    const auto told = steps_of(t.dist, t.target, {.kind = link_kind::hard, .dry_run = true});
    const auto done = steps_of(t.dist, t.target, hard);
    if (mount_of(t.target) == mount_of(t.dist)) return 78;
    if (told != done) return 1;
    if (lstat_of(t.target / "fw.conf").st_dev != lstat_of(t.dist / "fw.conf").st_dev) return 2;
    if (lstat_of(t.target / "fw.conf").st_ino == lstat_of(t.dist / "fw.conf").st_ino) return 3;
    return link_tree(t.dist, t.target, hard).unchanged == 5 ? 0 : 4;
  });
  const int status = container.wait();
  if (status == 77)
    test::skip("needs root, and a root directory that is a mount, for a mount of its own");
  else if (status == 78)
    test::skip("this statx(2) does not tell mounts apart, so each run finds out anew that there can be no link");
  else
    CHECK(status == 0);
}

TEST_CASE("a copy has content, mode, time and attributes of its file, and an inode of its own") {
  two_trees t;
  REQUIRE(::chmod((t.dist / "fw.conf").c_str(), 04751) == 0);
  const bool attributes = ::setxattr((t.dist / "fw.conf").c_str(), "user.fussy", "v", 1, 0) == 0;
  fs::last_write_time(t.dist / "fw.conf", fs::file_time_type::clock::now() - std::chrono::hours(1000));
  link_tree(t.dist, t.target, {.kind = link_kind::copy});
  const struct stat a = lstat_of(t.dist / "fw.conf"), b = lstat_of(t.target / "fw.conf");
  CHECK(a.st_ino != b.st_ino);
  CHECK(a.st_mode == b.st_mode);
  CHECK(a.st_mtim.tv_sec == b.st_mtim.tv_sec);
  CHECK(a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
  char value = 0;
  if (attributes) CHECK(::getxattr((t.target / "fw.conf").c_str(), "user.fussy", &value, 1) == 1);
  CHECK(content_of(t.target / "fw.conf") == "text\n");
}

TEST_CASE("gotcha: a copy is compared by content, not by size and time") {
  two_trees t;
  link_tree(t.dist, t.target, {.kind = link_kind::copy});
  const auto time = fs::last_write_time(t.target / "fw.conf");
  write(t.target / "fw.conf", "TEXT\n");
  fs::last_write_time(t.target / "fw.conf", time);
  check_counts(link_tree(t.dist, t.target, {.kind = link_kind::copy}), 0, 1, 4);
  CHECK(content_of(t.target / "fw.conf") == "text\n");
}

TEST_CASE("one kind replaces another") {
  two_trees t;
  const link_kind kinds[] = {link_kind::symbolic, link_kind::hard, link_kind::copy};
  for (const link_kind from : kinds)
    for (const link_kind to : kinds) {
      link_tree(t.dist, t.target, {.kind = from});
      check_counts(link_tree(t.dist, t.target, {.kind = to}), 0, from == to ? 0 : 2, from == to ? 5 : 3);
      const struct stat s = lstat_of(t.target / "fw.conf"), d = lstat_of(t.dist / "fw.conf");
      CHECK(S_ISLNK(s.st_mode) == (to == link_kind::symbolic));
      CHECK((s.st_ino == d.st_ino) == (to == link_kind::hard));
    }
}

TEST_CASE("what can be no copy is refused, and leaves nothing behind") {
  two_trees t;
  REQUIRE(::mkfifo((t.dist / "a-fifo").c_str(), 0600) == 0);
  CHECK(code_of([&] {
          std::jthread opener([&] {
            unique_fd fd(::open((t.dist / "a-fifo").c_str(), O_RDWR));
            ::usleep(200'000);
          });
          link_tree(t.dist, t.target, {.kind = link_kind::copy});
        }) == errc::unsupported);
  for (const auto& e : fs::directory_iterator(t.target)) CHECK(e.path().filename().string().find(".fussy") != 0);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("link_tree: options");

TEST_CASE("relative links lead to the same files, also when everything is moved") {
  two_trees t;
  link_tree(t.dist, t.target, {.relative = true});
  CHECK(link_of(t.target / "fw.conf") == "../dist/fw.conf");
  CHECK(link_of(t.target / "app" / "deep" / "app.conf") == "../../../dist/app/deep/app.conf");
  CHECK(link_of(t.target / "app" / "up") == "../fw.conf");
  temporary_directory other;
  fs::rename(t.dist, other / "dist");
  fs::rename(t.target, other / "target");
  CHECK(content_of(other / "target" / "app" / "deep" / "app.conf") == "text\n");
  CHECK(content_of(other / "target" / "app" / "up") == "text\n");
}

TEST_CASE("a dry run changes nothing and tells exactly what a run does") {
  two_trees t;
  write(t.target / "fw.conf", "mine");
  write(t.target / "absolute", "mine");
  write(t.target / "absolute.~1~", "older");
  fs::create_directories(t.target / "app");
  fs::create_symlink(t.dist / "app" / "gone", t.target / "app" / "gone");
  link_tree_options options{.prune = true, .backup = true};
  SUBCASE("symbolic") {}
  SUBCASE("relative") { options.relative = true; }
  SUBCASE("hard") { options.kind = link_kind::hard; }
  SUBCASE("copy") { options.kind = link_kind::copy; }
  const auto before = snapshot(t.path());
  link_tree_options dry = options;
  dry.dry_run = true;
  const auto told = steps_of(t.dist, t.target, dry);
  CHECK(snapshot(t.path()) == before);
  const auto done = steps_of(t.dist, t.target, options);
  CHECK(told == done);
  CHECK(told.size() == 9);
  CHECK(steps_of(t.dist, t.target, dry).empty());
}

TEST_CASE("backup keeps what is replaced under numbered names, but not links into the distribution") {
  two_trees t;
  write(t.target / "fw.conf", "first");
  write(t.dist / "second.conf");
  fs::create_symlink(t.dist / "other", t.target / "second.conf");
  const link_tree_report r = link_tree(t.dist, t.target, {.backup = true});
  CHECK(r.backed_up == 1);
  CHECK(content_of(t.target / "fw.conf.~1~") == "first");
  CHECK_FALSE(fs::exists(fs::symlink_status(t.target / "second.conf.~1~")));
  fs::remove(t.target / "fw.conf");
  write(t.target / "fw.conf", "second");
  link_tree(t.dist, t.target, {.relative = true, .backup = true});
  CHECK(content_of(t.target / "fw.conf.~1~") == "first");
  CHECK(content_of(t.target / "fw.conf.~2~") == "second");
  link_tree(t.dist, t.target, {.backup = true});  // from relative to absolute: both are ours
  CHECK_FALSE(fs::exists(t.target / "fw.conf.~3~"));
}

TEST_CASE("prune removes links into the distribution whose source is gone, and nothing else") {
  two_trees t;
  write(t.dist / "old" / "dir" / "old.conf");
  write(t.dist / "gone.conf");
  link_tree_options options{.prune = true};
  SUBCASE("absolute") {}
  SUBCASE("relative") { options.relative = true; }
  link_tree(t.dist, t.target, options);
  fs::remove_all(t.dist / "old");
  fs::remove(t.dist / "gone.conf");
  // None of these is ours, or has lost its source:
  write(t.target / "mine.conf", "mine");
  fs::create_symlink("/nowhere", t.target / "dangling");
  fs::create_symlink(t.dist / "never-there", t.target / "other-place");
  fs::create_symlink((t.dist / "gone.conf").string() + "/", t.target / "app" / "gone.conf");
  fs::create_symlink(t.dist.string() + "-2/x", t.target / "x");
  fs::create_directory_symlink(t / "outside", t.target / "door");
  write(t / "outside" / "file");
  fs::create_symlink(t.dist / "door" / "y", t / "outside" / "y");
  auto expected = snapshot(t.path());
  const link_tree_report r = link_tree(t.dist, t.target, options);
  CHECK(r.pruned == 2);
  CHECK(expected.erase((t.target / "gone.conf").string()) == 1);
  CHECK(expected.erase((t.target / "old" / "dir" / "old.conf").string()) == 1);
  auto after = snapshot(t.path());
  for (const fs::path& changed : {t.target, t.target / "old" / "dir"}) {  // their times
    expected.erase(changed.string());
    after.erase(changed.string());
  }
  CHECK(after == expected);
}

TEST_CASE("prune also looks behind a symbolic link to a directory that the distribution uses") {
  two_trees t;
  fs::create_directories(t / "elsewhere");
  fs::create_directory_symlink(t / "elsewhere", t.target / "app");
  write(t.dist / "app" / "gone.conf");
  link_tree(t.dist, t.target);
  REQUIRE(fs::is_symlink(t / "elsewhere" / "gone.conf"));
  fs::remove(t.dist / "app" / "gone.conf");
  CHECK(link_tree(t.dist, t.target, {.prune = true}).pruned == 1);
  CHECK_FALSE(fs::is_symlink(t / "elsewhere" / "gone.conf"));
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("link_tree: failures");

TEST_CASE("every entry is the old or the new one at every instant") {
  two_trees t;
  write(t / "dist2" / "fw.conf", "two\n");
  link_kind kind = link_kind::symbolic;
  SUBCASE("symbolic") {}
  SUBCASE("hard") { kind = link_kind::hard; }
  SUBCASE("copy") { kind = link_kind::copy; }
  link_tree(t.dist, t.target, {.kind = kind});
  std::atomic<bool> stop = false;
  std::atomic<long> reads = 0, bad = 0;
  std::thread reader([&] {
    while (!stop) {
      const std::string now = content_of(t.target / "fw.conf");
      if (now != "text\n" && now != "two\n") ++bad;
      ++reads;
    }
  });
  for (int i = 0; i < 200; ++i) link_tree(i % 2 ? t.dist : t / "dist2", t.target, {.kind = kind, .backup = i > 195});
  stop = true;
  reader.join();
  CHECK(reads > 0);
  CHECK(bad == 0);
}

TEST_CASE("a run that fails half-way leaves each entry old or new, and no litter; the next one completes it") {
  two_trees t;
  write(t.target / "fw.conf", "mine");
  int steps = 0;
  link_tree_options failing{.backup = true};
  SUBCASE("at the second step") {
    failing.on_step = [&](const link_step&) {
      if (++steps == 2) throw std::runtime_error("no");
    };
  }
  SUBCASE("at a backup") {
    failing.on_step = [](const link_step& s) {
      if (s.action == link_action::back_up) throw std::runtime_error("no");
    };
  }
  CHECK_THROWS_AS(link_tree(t.dist, t.target, failing), std::runtime_error);
  for (const auto& e : fs::recursive_directory_iterator(t.target))
    CHECK(e.path().filename().string().find(".fussy") != 0);
  const bool old = fs::is_regular_file(fs::symlink_status(t.target / "fw.conf"));
  CHECK((old ? content_of(t.target / "fw.conf") == "mine"
             : link_of(t.target / "fw.conf") == (t.dist / "fw.conf").string()));
  link_tree(t.dist, t.target, {.backup = true});
  CHECK(link_tree(t.dist, t.target).unchanged == 5);
  CHECK_FALSE(fs::exists(t.target / "fw.conf.~2~"));
}

TEST_CASE("a full disk leaves each entry old or new, and no litter") {
  two_trees t;
  write(t.dist / "big", std::string(4096, 'x'));
  link_tree(t.dist, t.target, {.kind = link_kind::copy});
  write(t.dist / "big", std::string(1 << 20, 'y'));
  test::child limited([&](int) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit size{64 * 1024, 64 * 1024};  // EFBIG in place of ENOSPC
    ::setrlimit(RLIMIT_FSIZE, &size);
    return code_of([&] { link_tree(t.dist, t.target, {.kind = link_kind::copy}); }) == errc::resource_limit ? 0 : 1;
  });
  CHECK(limited.wait() == 0);
  CHECK(content_of(t.target / "big") == std::string(4096, 'x'));
  for (const auto& e : fs::directory_iterator(t.target)) CHECK(e.path().filename().string().find(".fussy") != 0);
}

TEST_CASE("a run that is killed leaves each entry old or new; the next one completes it and removes the litter") {
  temporary_directory t;
  for (int i = 0; i < 300; ++i) {
    write(t / "one" / std::to_string(i), "one");
    write(t / "two" / std::to_string(i), "two");
  }
  link_kind kind = link_kind::symbolic;
  SUBCASE("symbolic") {}
  SUBCASE("copy") { kind = link_kind::copy; }
  link_tree(t / "one", t / "target", {.kind = kind});
  int litter = 0;
  for (int round = 0; round < 20; ++round) {
    test::child killed([&](int ready) {
      test::child::say_ready(ready);
      for (;;) {
        link_tree(t / "two", t / "target", {.kind = kind});
        link_tree(t / "one", t / "target", {.kind = kind});
      }
      return 0;
    });
    REQUIRE(killed.ready());
    ::usleep(static_cast<useconds_t>(3000 + 700 * round));
    killed.kill(SIGKILL);
    killed.wait();
    for (int i = 0; i < 300; ++i) {
      const std::string now = content_of(t / "target" / std::to_string(i));
      CHECK((now == "one" || now == "two"));
    }
    for (const auto& e : fs::directory_iterator(t / "target"))
      litter += e.path().filename().string().find(".fussy") == 0;
  }
  MESSAGE("temporary files left by 20 killed runs: ", litter);
  link_tree(t / "one", t / "target", {.kind = kind});
  int names = 0;
  for (const auto& e : fs::directory_iterator(t / "target")) {
    ++names;
    CHECK(content_of(e.path()) == "one");
  }
  CHECK(names == 300);
}

TEST_CASE("two runs at once do each other no harm") {
  temporary_directory t;
  for (int i = 0; i < 100; ++i) {
    write(t / "one" / std::to_string(i), "one");
    write(t / "two" / std::to_string(i), "two");
  }
  link_kind kind = link_kind::symbolic;
  SUBCASE("symbolic") {}
  SUBCASE("hard") { kind = link_kind::hard; }
  SUBCASE("copy") { kind = link_kind::copy; }
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (const char* name : {"one", "two"})
      threads.emplace_back([&, name] {
        for (int i = 0; i < (kind == link_kind::copy ? 4 : 40); ++i)
          if (code_of([&] { link_tree(t / name, t / "target", {.kind = kind}); }) != errc::success) ++failures;
      });
  }
  CHECK(failures == 0);
  int names = 0;
  for (const auto& e : fs::directory_iterator(t / "target")) {
    ++names;
    const std::string now = content_of(e.path());
    CHECK((now == "one" || now == "two"));
  }
  CHECK(names == 100);
}

TEST_CASE("gotcha: a deep distribution does not run out of descriptors or stack") {
  temporary_directory t;
  fs::path deep = t / "dist";
  for (int i = 0; i < 400; ++i) deep /= "d";
  fs::create_directories(deep);
  write(deep / "file");
  test::child limited([&](int) {
    const rlimit files{24, 24};
    ::setrlimit(RLIMIT_NOFILE, &files);
    return static_cast<int>(link_tree(t / "dist", t / "target").created);
  });
  CHECK(limited.wait() == 1);
}

TEST_SUITE_END();
