// Proof 4: real file systems on a disk that loses power. The block writes of an install are recorded; the disk is
// rebuilt as it was behind any of them, with writes since the last flush lost at random; it is mounted, so the file
// system replays its own journal; then there is a working version, recovery succeeds, and behind an exit status of 0 it
// is the new one.
//
// Needs root, /dev/fuse and loop devices; is skipped, and says so, where they are not to be had.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "crash/log_disk.hpp"
#include "device.hpp"

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

bool complete(const fs::path& version, const std::string& label) {
  for (const auto& [name, text] : version_files(label)) {
    const std::string file = name.ends_with('!') ? name.substr(0, name.size() - 1) : name;
    if (content_of_file(version / file) != text) return false;
  }
  return true;
}

std::string live(const fs::path& target) {
  std::error_code none;
  const std::string text = fs::read_symlink(target / "current", none).string();
  if (none) return "!no current";
  return complete(target / text, text.substr(4)) ? text : "!incomplete " + text;
}

std::string unrest(const fs::path& target) {
  for (const auto& entry : fs::directory_iterator(target)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("app-") && !complete(entry.path(), name.substr(4))) return "incomplete " + name;
  }
  for (const auto& entry : fs::directory_iterator(target / ".fussy")) {
    const std::string name = entry.path().filename().string();
    if (name != "lock" && name != "previous" && !(name == "staging" && fs::is_empty(entry.path())))
      return "left " + name;
  }
  return {};
}

class power_test {
public:
  explicit power_test(const file_system& f) : fs_(f) {
    vendor& v = vendor::of_all_tests();
    first_ = v.package("app-1", version_files("1"));
    second_ = v.package("app-2", version_files("2"));
    const unique_fd image = open_file(base(), O_RDWR | O_CREAT, 0600);
    REQUIRE(::ftruncate(image.get(), static_cast<off_t>(f.megabytes << 20)) == 0);
    std::vector<std::string> make = f.make;
    make.push_back(base().string());
    output_of(make);
    crash::loop_mount m(base(), mount(), f.name);
    fs::create_directory(target());
    install_into(target(), first_);
    REQUIRE(live(target()) == "app-1");
  }

  /// Records an upgrade.
  void record(const std::string& shim = {}) {
    crash::log_disk disk(directory_.path() / "recording", base());
    crash::loop_mount m(disk.disk(), mount(), fs_.name, fs_.options);
    neighbour other(mount() / "noise");
    begin_ = entries(disk);
    const outcome o =
        run({AGENT, "install", second_.string(), vendor::of_all_tests().keys().string(), target().string()}, {},
            shim.empty() ? std::map<std::string, std::string>{}
                         : std::map<std::string, std::string>{{"LD_PRELOAD", SHIM}, {"FUSSY_SHIM", shim}});
    end_ = entries(disk);
    CAPTURE(o.err);
    REQUIRE(o.status == 0);
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
        bad += before.starts_with("!") || (at >= end_ && before != "app-2");
      } catch (const fussy::error&) {
        ++bad;
      }
    }
    return bad;
  }

  void cut_everywhere(std::size_t cuts) {
    MESSAGE(fs_.name << ": " << end_ - begin_ << " block writes and flushes in the install, " << after_ - end_
                     << " behind it");
    for (std::size_t i = 0; i < cuts; ++i) {
      // Three quarters within the install, a quarter behind its end.
      const bool behind = i % 4 == 3;
      const std::size_t from = behind ? end_ : begin_, to = behind ? after_ : end_;
      const std::size_t at = from + (to - from) * (i / 4 * 4 + i % 4) / cuts;
      cut(at, i % 3 != 0, i, at >= end_);
    }
  }

private:
  void cut(std::size_t at, bool lose, std::uint64_t seed, bool must_be_new) {
    CAPTURE(at);
    CAPTURE(lose);
    const fs::path image = directory_.path() / "cut";
    crash::rebuild(base(), directory_.path() / "recording/log", at, lose, seed, image);
    crash::loop_mount m(image, mount(), fs_.name);
    const std::string before = live(target());
    CHECK((before == "app-1" || before == "app-2"));
    if (must_be_new) CHECK(before == "app-2");  // an exit status of 0 is durable
    device silent;
    install::options how = silent.how();
    how.target = target();
    CHECK_NOTHROW(install::recover(how));
    const std::string after = live(target());
    CHECK((after == "app-1" || after == "app-2"));
    if (before == "app-2") CHECK(after == "app-2");
    CHECK(complete(target() / "app-1", "1"));
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
  temporary_directory directory_;
  fs::path first_, second_;
  std::size_t begin_ = 0, end_ = 0, after_ = 0;
};

}  // namespace

TEST_SUITE_BEGIN("install: power cuts of real file systems");

TEST_CASE("whatever block write was the last, there is a working version; behind the end it is the new one") {
  if (!can_mount()) {
    MESSAGE("SKIPPED: needs root, /dev/fuse and loop devices");
    return;
  }
  for (const file_system& f : file_systems()) {
    CAPTURE(f.name);
    if (run({f.make[0], "--version"}).status == 127) {
      MESSAGE("SKIPPED: " << f.make[0] << " is not installed");
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const std::size_t cuts = is_long() ? 600 : 24;
    power_test t(f);
    t.record();
    t.cut_everywhere(cuts);
    MESSAGE(f.name << ": " << cuts << " cuts in "
                   << std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() << " s");
  }
}

#ifndef NO_SHIM
TEST_CASE("the proof can fail: an installer whose syncs do nothing is found out") {
  if (!can_mount() || run({"mkfs.ext4", "-V"}).status == 127) {
    MESSAGE("SKIPPED: needs root, /dev/fuse, loop devices and mkfs.ext4");
    return;
  }
  power_test t(file_systems()[0]);
  t.record("nosync");
  const std::size_t bad = t.violations(24);
  MESSAGE(bad << " of 24 cuts leave no working version, or the old one behind an exit status of 0");
  CHECK(bad > 0);
}
#endif

TEST_CASE(
    "a tmpfs that is full, of bytes or of inodes: no residue, the running version untouched, the message has the "
    "figures") {
  if (!can_mount()) {
    MESSAGE("SKIPPED: needs root");
    return;
  }
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
        CHECK(std::string(e.what()).find("inodes are free") != std::string::npos);
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
  if (!can_mount()) {
    MESSAGE("SKIPPED: needs root");
    return;
  }
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

TEST_CASE("invariant 8: installers and cleaners racing each other leave whole versions only") {
  device d;
  vendor& v = vendor::of_all_tests();
  const fs::path one = v.package("app-1", version_files("1")), two = v.package("app-2", version_files("2"));
  d.install(one);
  const int rounds = is_long() ? 60 : 4;
  const auto racer = [&](const std::vector<std::string>& what) {
    return std::make_unique<child>([=](int) {
      for (int i = 0; i < rounds; ++i) {
        const int status = run(what).status;
        if (status != 0 && status != 2) return status;  // 2: busy
      }
      return 0;
    });
  };
  const std::string keys = v.keys().string(), target = d.target().string();
  std::vector<std::unique_ptr<child>> racers;
  racers.push_back(racer({AGENT, "install", one.string(), keys, target}));
  racers.push_back(racer({AGENT, "install", two.string(), keys, target}));
  racers.push_back(racer({AGENT, "clean", target}));
  for (const auto& r : racers) CHECK(r->wait() == 0);
  const std::string current = d.current();
  for (const auto& entry : fs::directory_iterator(d.target())) {
    const std::string name = entry.path().filename().string();
    if (name == ".fussy" || name == "current") continue;
    CHECK(complete(entry.path(), name.substr(4, 1)));
  }
  CHECK(d.has(current + "/app"));
  CHECK(d.litter().empty());
}

TEST_SUITE_END();
