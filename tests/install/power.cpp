// Proof 4: real file systems on a disk that loses power. The block writes of an install are recorded; the disk is
// rebuilt as it was behind any of them, with writes since the last flush lost at random; it is mounted, so the file
// system replays its own journal; then there is a working version, recovery succeeds, and behind an exit status of 0 it
// is the new one.
//
// Needs root, /dev/fuse and loop devices; is skipped, and says so, where they are not to be had.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>

#include "crash/log_disk.hpp"
#include "device.hpp"
#include "support/skip.hpp"

#ifndef SHIM
#define SHIM ""  // not with a sanitizer, whose runtime wants to be loaded first
#define NO_SHIM
#endif

using namespace test;

namespace {

bool is_long() { return std::getenv("FUSSY_LONG_TESTS") != nullptr; }

struct file_system {
  std::string name;
  std::uint64_t megabytes;
  std::vector<std::string> make;  // mkfs
  std::string options;            // that make the windows wide
};

const std::vector<file_system>& file_systems() {
  static const std::vector<file_system> all{
      {"ext4", 48, {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, "commit=1"},
      {"xfs", 320, {"mkfs.xfs", "-q", "-f"}, ""},
      {"btrfs", 128, {"mkfs.btrfs", "-q", "-f", "-M"}, "commit=1"},
  };
  return all;
}

bool can_mount() {
  return ::geteuid() == 0 && ::access("/dev/fuse", R_OK | W_OK) == 0 && ::access("/dev/loop-control", R_OK | W_OK) == 0;
}

/// Somebody else on the same file system who syncs all the time: each sync commits our names without our contents.
class neighbour {
public:
  explicit neighbour(const fs::path& file)
      : thread_([this, file] {
          const unique_fd fd = open_file(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
          while (!stop_) {
            (void)!::write(fd.get(), "line\n", 5);
            ::fsync(fd.get());
            ::usleep(2000);
          }
        }) {}
  ~neighbour() {
    stop_ = true;
    thread_.join();
  }

private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// What is done while power fails, on a target that runs app-1 and has app-0, too.
struct scene {
  std::string title;
  std::vector<std::string> agent;  // PACKAGE, KEYS and TARGET are replaced
  int status = 0;
  std::set<std::string> may_live;  // "" is nothing, before the end
  std::string lives;               // behind the end
  bool first = false;              // the target is empty at the beginning
  std::size_t cuts_if_long = 200;
};

const std::vector<scene>& scenes() {
  const std::vector<std::string> install{"install", "PACKAGE", "KEYS", "TARGET"};
  static const std::vector<scene> all{
      {.title = "an upgrade", .agent = install, .may_live = {"app-1", "app-2"}, .lives = "app-2", .cuts_if_long = 600},
      {.title = "an upgrade that fails and goes back",
       .agent = install,
       .status = 3,
       .may_live = {"app-1", "app-bad"},
       .lives = "app-1"},
      {.title = "a first install", .agent = install, .may_live = {"", "app-2"}, .lives = "app-2", .first = true},
      {.title = "cleaning", .agent = {"clean", "TARGET"}, .may_live = {"app-1"}, .lives = "app-1"},
  };
  return all;
}

bool complete(const fs::path& version, const std::string& label) {
  for (const auto& [name, text] : version_files(label, 0, label == "bad" ? 1 : 0)) {
    const std::string file = name.ends_with('!') ? name.substr(0, name.size() - 1) : name;
    if (content_of_file(version / file) != text) return false;
  }
  return true;
}

std::string live(const fs::path& target) {
  if (!fs::exists(fs::symlink_status(target / "current"))) return {};
  std::error_code none;
  const std::string text = fs::read_symlink(target / "current", none).string();
  if (none || text.size() < 5) return "!current is odd";
  return complete(target / text, text.substr(4)) ? text : "!incomplete " + text;
}

std::string unrest(const fs::path& target) {
  for (const auto& entry : fs::directory_iterator(target)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("app-") && !complete(entry.path(), name.substr(4))) return "incomplete " + name;
  }
  if (!fs::exists(target / ".fussy")) return {};
  for (const auto& entry : fs::directory_iterator(target / ".fussy")) {
    const std::string name = entry.path().filename().string();
    if (name != "lock" && name != "previous" && name != "failed" && !(name == "staging" && fs::is_empty(entry.path())))
      return "left " + name;
  }
  return {};
}

class power_test {
public:
  power_test(const file_system& f, const scene& what) : fs_(f), what_(what) {
    vendor& v = vendor::of_all_tests();
    package_ =
        what.status == 0 ? v.package("app-2", version_files("2")) : v.package("app-bad", version_files("bad", 0, 1));
    const unique_fd image = open_file(base(), O_RDWR | O_CREAT, 0600);
    REQUIRE(::ftruncate(image.get(), static_cast<off_t>(f.megabytes << 20)) == 0);
    std::vector<std::string> make = f.make;
    make.push_back(base().string());
    output_of(make);
    crash::loop_mount m(base(), mount(), f.name);
    fs::create_directory(target());
    if (what.first) return;
    for (const std::string old : {"0", "1"}) install_into(target(), v.package("app-" + old, version_files(old)));
    REQUIRE(live(target()) == "app-1");
  }

  /// Records what is done.
  void record(const std::string& shim = {}) {
    crash::log_disk disk(directory_.path() / "recording", base());
    crash::loop_mount m(disk.disk(), mount(), fs_.name, fs_.options);
    neighbour other(mount() / "noise");
    std::vector<std::string> command{AGENT};
    for (const std::string& a : what_.agent)
      command.push_back(a == "PACKAGE"  ? package_.string()
                        : a == "KEYS"   ? vendor::of_all_tests().keys().string()
                        : a == "TARGET" ? target().string()
                                        : a);
    begin_ = entries(disk);
    const outcome o =
        run(command, {},
            shim.empty() ? std::map<std::string, std::string>{}
                         : std::map<std::string, std::string>{{"LD_PRELOAD", SHIM}, {"FUSSY_SHIM", shim}});
    end_ = entries(disk);
    CAPTURE(o.err);
    REQUIRE(o.status == what_.status);
    ::usleep(300'000);  // what comes behind the end may not undo it
    after_ = entries(disk);
  }

  /// How many cuts leave something that may not be, without any check of ours.
  std::size_t violations(std::size_t cuts) {
    std::size_t bad = 0;
    for (std::size_t i = 0; i < cuts; ++i) {
      const std::size_t at = begin_ + (after_ - begin_) * i / cuts;
      const fs::path image = directory_.path() / "cut";
      crash::rebuild(base(), directory_.path() / "recording/log", at, i % 3 != 0, i, image);
      try {
        crash::loop_mount m(image, mount(), fs_.name);
        const std::string before = live(target());
        bad += !what_.may_live.contains(before) || (at >= end_ && before != what_.lives);
      } catch (const fussy::error&) {
        ++bad;
      }
    }
    return bad;
  }

  void cut_everywhere(std::size_t cuts) {
    MESSAGE(what_.title << ", " << fs_.name << ": " << end_ - begin_ << " block writes and flushes in it, "
                        << after_ - end_ << " behind it");
    for (std::size_t i = 0; i < cuts; ++i) {
      // Three quarters within the install, a quarter behind its end.
      const bool behind = i % 4 == 3;
      const std::size_t from = behind ? end_ : begin_, to = behind ? after_ : end_;
      const std::size_t at = from + (to - from) * (i / 4 * 4 + i % 4) / cuts;
      cut(at, i % 3 != 0, i, at >= end_);
    }
  }

private:
  void cut(std::size_t at, bool lose, std::uint64_t seed, bool behind) {
    CAPTURE(at);
    CAPTURE(lose);
    const fs::path image = directory_.path() / "cut";
    crash::rebuild(base(), directory_.path() / "recording/log", at, lose, seed, image);
    crash::loop_mount m(image, mount(), fs_.name);
    const std::string before = live(target());
    CAPTURE(before);
    CHECK(what_.may_live.contains(before));
    if (behind) CHECK(before == what_.lives);  // an exit status of 0 is durable, and so is one of 3
    device silent;
    install::options how = silent.how();
    how.target = target();
    const errc recovered = code_of([&] { install::recover(how); });
    // A first install whose hook had begun cannot go on, and has nothing to go back to.
    CHECK((recovered == errc::success || (what_.first && recovered == errc::unrecoverable && before.empty())));
    const std::string after = live(target());
    CAPTURE(after);
    CHECK(what_.may_live.contains(after));
    if (behind) CHECK(after == what_.lives);
    if (before == "app-2") CHECK(after == "app-2");
    if (!what_.first) CHECK(complete(target() / "app-1", "1"));
    if (what_.agent[0] == "clean" && behind) CHECK_FALSE(fs::exists(target() / "app-0"));
    CHECK(unrest(target()) == "");
  }

  void install_into(const fs::path& target, const fs::path& package) {
    device silent;
    install::options how = silent.how();
    how.target = target;
    install::install(package, how);
  }
  static std::size_t entries(const crash::log_disk& disk) {
    const unique_fd fd = open_file(disk.log(), O_RDONLY);
    return crash::read_log(fd.get()).size();
  }
  fs::path base() const { return directory_.path() / "base"; }
  fs::path mount() const { return directory_.path() / "mnt"; }
  fs::path target() const { return mount() / "target"; }

  const file_system& fs_;
  const scene& what_;
  temporary_directory directory_;
  fs::path package_;
  std::size_t begin_ = 0, end_ = 0, after_ = 0;
};

}  // namespace

TEST_SUITE_BEGIN("install: power cuts of real file systems");

TEST_CASE(
    "whatever block write was the last, there is a working version; behind the end it is the one that was promised") {
  if (!can_mount()) return test::skip("needs root, /dev/fuse and loop devices");
  const char* const only = std::getenv("FUSSY_FILE_SYSTEM");
  std::size_t total = 0;
  for (const file_system& f : file_systems()) {
    if (only && f.name != only) continue;
    CAPTURE(f.name);
    if (run({f.make[0], "--version"}).status == 127) {
      test::skip_part(std::string(f.make[0]) + " is not installed");
      continue;
    }
    for (const scene& what : scenes()) {
      CAPTURE(what.title);
      const auto begin = std::chrono::steady_clock::now();
      const std::size_t cuts = is_long() ? what.cuts_if_long : &what == &scenes()[0] ? 24 : f.name == "ext4" ? 12 : 4;
      power_test t(f, what);
      t.record();
      t.cut_everywhere(cuts);
      total += cuts;
      MESSAGE(cuts << " cuts in " << std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()
                   << " s");
    }
  }
  MESSAGE("all file systems: " << total << " cuts");
}

#ifndef NO_SHIM
TEST_CASE("the proof can fail: an installer whose syncs do nothing is found out") {
  if (!can_mount() || run({"mkfs.ext4", "-V"}).status == 127)
    return test::skip("needs root, /dev/fuse, loop devices and mkfs.ext4");
  power_test t(file_systems()[0], scenes()[0]);
  t.record("nosync");
  const std::size_t bad = t.violations(24);
  MESSAGE(bad << " of 24 cuts leave no working version, or the old one behind an exit status of 0");
  CHECK(bad > 0);
}
#endif

TEST_CASE(
    "a tmpfs that is full, of bytes or of inodes: no residue, the running version untouched, the message has the "
    "figures") {
  if (!can_mount()) return test::skip("needs root");
  const std::string big(3 << 20, 'x');
  std::string noise;
  for (std::size_t i = 0; i < big.size(); ++i) noise += static_cast<char>(i * 2654435761u >> 13);
  files many = version_files("2");
  for (int i = 0; i < 200; ++i) many["many/" + std::to_string(i)] = "x";
  files large = version_files("2");
  large["large"] = noise;
  const fs::path package_of_many = vendor::of_all_tests().package("app-2", many),
                 package_of_large = vendor::of_all_tests().package("app-2", large),
                 first = vendor::of_all_tests().package("app-1", version_files("1"));
  for (const bool inodes : {false, true}) {
    CAPTURE(inodes);
    device d;
    REQUIRE(::mount("tmpfs", d.target().c_str(), "tmpfs", 0, inodes ? "size=64m,nr_inodes=64" : "size=2m") == 0);
    d.install(first);
    const std::string before = snapshot(d.target());
    for (const bool stream : {false, true}) {
      try {
        const fs::path& package = inodes ? package_of_many : package_of_large;
        if (stream)
          install::install(any_reader(file_reader(package)), d.how());
        else
          d.install(package);
        FAIL_CHECK("there was space after all");
      } catch (const fussy::error& e) {
        CHECK(e.code() == errc::no_space);
        CAPTURE(std::string(e.what()));
        CHECK(std::string(e.what()).find("free: ") != std::string::npos);
        CHECK(std::string(e.what()).find("needed") != std::string::npos);
        CHECK(std::string(e.what()).find("fussy-clean") != std::string::npos);
      }
      CHECK(snapshot(d.target()) == before);
      CHECK(d.litter().empty());
    }
    ::umount2(d.target().c_str(), MNT_DETACH);
  }
}

TEST_CASE("a target on a read-only file system is not usable, and says why") {
  if (!can_mount()) return test::skip("needs root");
  device d;
  REQUIRE(::mount("tmpfs", d.target().c_str(), "tmpfs", MS_RDONLY, "size=1m") == 0);
  try {
    d.install(vendor::of_all_tests().package("app-1", version_files("1")));
    FAIL_CHECK("it was written to");
  } catch (const fussy::error& e) {
    CHECK(e.code() == errc::target_unusable);
    CHECK(std::string(e.what()).find("mount") != std::string::npos);
  }
  ::umount2(d.target().c_str(), MNT_DETACH);
}

namespace {

/// Two installers and a cleaner run against each other, each again and again.
/// @return what is wrong in the end; "" when nothing is
std::string race(int rounds, const std::string& shim = {}) {
  device d;
  vendor& v = vendor::of_all_tests();
  const fs::path one = v.package("app-1", version_files("1")), two = v.package("app-2", version_files("2"));
  d.install(one);
  const auto racer = [&](const std::vector<std::string>& what) {
    return std::make_unique<child>([=](int) {
      for (int i = 0; i < rounds; ++i) {
        const outcome o =
            run(what, {},
                shim.empty() ? std::map<std::string, std::string>{}
                             : std::map<std::string, std::string>{{"LD_PRELOAD", SHIM}, {"FUSSY_SHIM", shim}});
        const bool busy = o.status == 2 && o.err.find("is busy") != std::string::npos;
        if (o.status != 0 && !busy) return o.status;
      }
      return 0;
    });
  };
  const std::string keys = v.keys().string(), target = d.target().string();
  std::vector<std::unique_ptr<child>> racers;
  racers.push_back(racer({AGENT, "install", one.string(), keys, target}));
  racers.push_back(racer({AGENT, "install", two.string(), keys, target}));
  racers.push_back(racer({AGENT, "clean", target}));
  std::string wrong;
  for (const auto& r : racers)
    if (const int status = r->wait(); status != 0) wrong += "a command ended with " + std::to_string(status) + "; ";
  for (const auto& entry : fs::directory_iterator(d.target())) {
    const std::string name = entry.path().filename().string();
    if (name != ".fussy" && name != "current" && !complete(entry.path(), name.substr(4, 1)))
      wrong += "half " + name + "; ";
  }
  if (!d.has(d.current() + "/app")) wrong += "current leads nowhere; ";
  if (!d.litter().empty()) wrong += "left " + d.litter() + "; ";
  return wrong;
}

}  // namespace

TEST_CASE("invariant 8: installers and cleaners racing each other leave whole versions only") {
  CHECK(race(is_long() ? 60 : 4) == "");
}

#ifndef NO_SHIM
TEST_CASE("the proof can fail: without the lock, racing commands get into each other's way") {
  std::string wrong;
  for (int i = 0; i < 10 && wrong.empty(); ++i) wrong = race(4, "nolock");
  MESSAGE("without the lock: " << wrong);
  CHECK(wrong != "");
}
#endif

TEST_SUITE_END();
