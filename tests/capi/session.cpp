// Sessions and fussy_install(), as a C program sees them.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fussy.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <locale>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "support/skip.hpp"

namespace {

using namespace test;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("capi");

TEST_CASE("fussy_install takes a package made by gpg to a target, with or without a report") {
  device d;
  const std::string one = the_vendor().package("fw-1"), two = the_vendor().package("fw-2", "echo hello");
  REQUIRE(fussy_install(one.c_str(), the_vendor().keys().c_str(), d.target().c_str(), nullptr) == FUSSY_OK);
  CHECK(d.current() == "fw-1");
  fussy_report report = FUSSY_REPORT_INIT;
  REQUIRE(fussy_install(two.c_str(), the_vendor().keys().c_str(), d.target().c_str(), &report) == FUSSY_OK);
  CHECK(d.current() == "fw-2");
  CHECK(report.size == sizeof report);
  CHECK(report.status == FUSSY_OK);
  CHECK(report.phase == FUSSY_PHASE_DONE);
  CHECK(report.version == std::string("fw-2"));
  CHECK(report.previous == std::string("fw-1"));
  CHECK(report.path == d.target() + "/fw-2");
  CHECK(report.signers == 1);
  CHECK(std::strlen(report.signer) == 40);
  CHECK(report.message == std::string());
  CHECK(report.files == 3);
  CHECK(report.files_shared == 1);  // data; app differs, the hook is new
}

TEST_CASE("a report is written no further than its size says") {
  device d;
  const std::string missing = d.target() + "/missing";
  union {
    fussy_report report;
    char bytes[sizeof(fussy_report) + 64];
  } room;
  SUBCASE("an old program with a shorter struct") {
    std::memset(room.bytes, 0x5a, sizeof room.bytes);
    room.report.size = 24;
    CHECK(fussy_install(missing.c_str(), nullptr, d.target().c_str(), &room.report) == FUSSY_NOT_FOUND);
    CHECK(room.report.size == 24);
    CHECK(room.report.status == FUSSY_NOT_FOUND);
    for (std::size_t i = 24; i < sizeof room.bytes; ++i) REQUIRE(room.bytes[i] == 0x5a);
  }
  SUBCASE("a newer program with a longer one") {
    std::memset(room.bytes, 0x5a, sizeof room.bytes);
    room.report.size = sizeof room.bytes;
    CHECK(fussy_install(missing.c_str(), nullptr, d.target().c_str(), &room.report) == FUSSY_NOT_FOUND);
    CHECK(room.report.size == sizeof(fussy_report));
    for (std::size_t i = sizeof(fussy_report); i < sizeof room.bytes; ++i) REQUIRE(room.bytes[i] == 0x5a);
  }
  SUBCASE("all zero means the first layout") {
    std::memset(room.bytes, 0, sizeof room.bytes);
    CHECK(fussy_install(missing.c_str(), nullptr, d.target().c_str(), &room.report) == FUSSY_NOT_FOUND);
    CHECK(room.report.size == sizeof(fussy_report));  // to be frozen as a number when the struct grows
    CHECK(room.report.message[0] != '\0');
    CHECK(room.report.system_errno == ENOENT);
    CHECK(room.report.path == missing);
  }
}

TEST_CASE("a package arrives in every way there is") {
  device d;
  const std::string package = the_vendor().package("fw-1"), content = slurp(package);
  SUBCASE("from a path, as often as one likes") {
    CHECK(d.install(package) == FUSSY_OK);
    CHECK(fussy_session_install(d) == FUSSY_OK);
    CHECK(d.current() == "fw-1-1");
  }
  SUBCASE("from a descriptor of a file, whose position is not moved") {
    const int fd = ::open(package.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(fussy_session_set_package_fd(d, fd) == FUSSY_OK);
    CHECK(fussy_session_set_unpack(d, FUSSY_UNPACK_AFTER_PROOF) == FUSSY_OK);
    CHECK(fussy_session_install(d) == FUSSY_OK);
    CHECK(::lseek(fd, 0, SEEK_CUR) == 0);
    CHECK(::close(fd) == 0);
    CHECK(d.current() == "fw-1");
  }
  SUBCASE("from a socket that blocks or not, while it is written") {
    int ends[2];
    const int flags = 0;
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ends) == 0);
    SUBCASE("not") { ::fcntl(ends[0], F_SETFL, O_NONBLOCK); }
    SUBCASE("blocks") {}
    const int before = ::fcntl(ends[0], F_GETFL);
    std::thread sender([&] {
      for (std::size_t at = 0; at < content.size(); at += 500) {
        const std::string piece = content.substr(at, 500);
        (void)!::write(ends[1], piece.data(), piece.size());
      }
      ::close(ends[1]);
    });
    CHECK(fussy_session_set_package_fd(d, ends[0]) == FUSSY_OK);
    CHECK(fussy_session_install(d) == FUSSY_OK);
    sender.join();
    CHECK(::fcntl(ends[0], F_GETFL) == before);
    CHECK(::close(ends[0]) == 0);
    CHECK(d.current() == "fw-1");
  }
  SUBCASE("from a callback, once") {
    source from{.bytes = content};
    CHECK(fussy_session_set_package_callback(d, source::read, &from) == FUSSY_OK);
    CHECK(fussy_session_install(d) == FUSSY_OK);
    CHECK(d.current() == "fw-1");
    CHECK(fussy_session_install(d) == FUSSY_USAGE);
    CHECK(std::string(fussy_session_message(d)).find("no package") != std::string::npos);
  }
}

TEST_CASE("an upload that breaks off changes nothing") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  const std::string before = d.listing(), content = slurp(the_vendor().package("fw-2"));
  source from{.bytes = content.substr(0, content.size() / 2)};
  fussy_session_set_package_callback(d, source::read, &from);
  SUBCASE("with an early end") { CHECK(fussy_status_exit_code(fussy_session_install(d)) == 20); }
  SUBCASE("with an error of the callback") {
    from.failure = -ECONNRESET;
    CHECK(fussy_session_install(d) == FUSSY_IO);
    CHECK(d.report().system_errno == ECONNRESET);
  }
  CHECK(d.listing() == before);
  CHECK(d.current() == "fw-1");
  CHECK(!d.has_litter());
  CHECK(d.install(the_vendor().package("fw-2")) == FUSSY_OK);
}

TEST_CASE("a failing hook puts the previous version back, and the report says what it wrote") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  CHECK(d.install(the_vendor().package("fw-bad", "echo the disk is on fire; exit 7")) == FUSSY_REVERTED);
  const fussy_report report = d.report();
  CHECK(report.status == FUSSY_REVERTED);
  CHECK(report.cause == FUSSY_PROCESS_FAILED);
  CHECK(std::string(report.output).find("the disk is on fire") != std::string::npos);
  CHECK(report.remedy[0] != '\0');
  CHECK(report.message == std::string(fussy_session_message(d)));
  CHECK(report.phase == FUSSY_PHASE_RESTORING);
  CHECK(d.current() == "fw-1");
}

TEST_CASE("what no trusted key has signed is refused") {
  device d;
  vendor stranger;
  CHECK(d.install(stranger.package("fw-1")) == FUSSY_UNKNOWN_SIGNER);
  CHECK(d.listing().empty());
}

TEST_CASE("progress is monotone, counts bytes, and ends with done") {
  device d;
  steps progress;
  fussy_session_set_progress(d, steps::take, &progress);
  const std::string package = the_vendor().package("fw-big", "true", 4096);
  REQUIRE(d.install(package) == FUSSY_OK);
  REQUIRE(progress.seen.size() > 4);
  for (std::size_t i = 0; i < progress.seen.size(); ++i) {
    const fussy_progress& now = progress.seen[i];
    CHECK(now.size == sizeof now);
    if (now.total > 0) CHECK(now.done <= now.total);
    if (i == 0) continue;
    const fussy_progress& before = progress.seen[i - 1];
    CHECK(before.phase <= now.phase);
    if (before.phase == now.phase) CHECK(before.done <= now.done);
  }
  CHECK(progress.seen.back().phase == FUSSY_PHASE_DONE);
  const auto whole = std::filesystem::file_size(package);
  bool counted = false;
  for (const fussy_progress& now : progress.seen)
    counted |= now.phase == FUSSY_PHASE_UNPACKING && now.done == whole && now.total == whole;
  CHECK(counted);
}

TEST_CASE("a progress callback can cancel, until the new version is live") {
  device d;
  steps progress;
  fussy_session_set_progress(d, steps::take, &progress);
  SUBCASE("while it is verified") { progress.cancel_at = FUSSY_PHASE_VERIFYING; }
  SUBCASE("while it is unpacked") { progress.cancel_at = FUSSY_PHASE_UNPACKING; }
  CHECK(d.install(the_vendor().package("fw-big", "true", 4096)) == FUSSY_CANCELLED);
  CHECK(d.listing().empty());
  CHECK(!d.has_litter());
  progress.cancel_at = -1;
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_CANCELLED);  // as long as nobody clears it
  CHECK(fussy_session_clear_cancel(d) == FUSSY_OK);
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
}

fussy_session* cancelled_by_signal = nullptr;

TEST_CASE("cancelling ends the wait for a package that never comes") {
  device d;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  fussy_session_set_package_fd(d, ends[0]);
  const auto begun = std::chrono::steady_clock::now();
  SUBCASE("from another thread") {
    std::thread other([&] {
      std::this_thread::sleep_for(100ms);
      fussy_session_cancel(d);
    });
    CHECK(fussy_session_install(d) == FUSSY_CANCELLED);
    other.join();
  }
  SUBCASE("from a signal handler") {
    cancelled_by_signal = d;
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) { fussy_session_cancel(cancelled_by_signal); };
    ::sigaction(SIGUSR1, &action, &before);
    const pthread_t self = ::pthread_self();
    std::thread other([&] {
      std::this_thread::sleep_for(100ms);
      ::pthread_kill(self, SIGUSR1);
    });
    CHECK(fussy_session_install(d) == FUSSY_CANCELLED);
    other.join();
    ::sigaction(SIGUSR1, &before, nullptr);
  }
  SUBCASE("before it has begun") {
    fussy_session_cancel(d);
    CHECK(fussy_session_install(d) == FUSSY_CANCELLED);
  }
  SUBCASE("by the time limit of a lock on this thread") {
    fussy_lock* lock = nullptr;
    REQUIRE(fussy_lock_acquire((d.target() + "/job.lock").c_str(), 0, &lock, nullptr) == FUSSY_OK);
    CHECK(fussy_lock_set_timeout(lock, 100) == FUSSY_OK);
    CHECK(fussy_session_install(d) == FUSSY_TIMEOUT);
    CHECK(fussy_lock_check(lock) == FUSSY_TIMEOUT);
    fussy_lock_release(lock);
  }
  CHECK(std::chrono::steady_clock::now() - begun < 10s);
  CHECK(d.current().empty());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a time limit of the thread that ends a hook is told as such, with what is live again") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  const std::string hangs = the_vendor().package("fw-hangs", "exec sleep 1000");
  fussy_lock* lock = nullptr;
  const temporary_directory elsewhere;
  REQUIRE(fussy_lock_acquire((elsewhere / "job.lock").c_str(), 0, &lock, nullptr) == FUSSY_OK);
  REQUIRE(fussy_lock_set_timeout(lock, 700) == FUSSY_OK);
  CHECK(d.install(hangs) == FUSSY_TIMEOUT);
  fussy_lock_release(lock);
  CHECK(std::string(d.report().previous) == "fw-1");
  CHECK(std::string(d.report().message).find("fw-1 is live again") != std::string::npos);
  CHECK(d.current() == "fw-1");
  CHECK(d.listing() == "current\nfw-1\n");
}

TEST_CASE("pthread_cancel of a thread inside the library waits for the call to return") {
  device d;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  fussy_session_set_package_fd(d, ends[0]);
  struct shared {
    fussy_session* session;
    std::atomic<int32_t> status{-1};
    std::atomic<bool> went_on{false};
  } state{.session = d};
  pthread_t thread;
  REQUIRE(::pthread_create(
              &thread, nullptr,
              [](void* p) -> void* {
                auto& s = *static_cast<shared*>(p);
                s.status = fussy_session_install(s.session);
                ::pthread_testcancel();
                s.went_on = true;
                return nullptr;
              },
              &state) == 0);
  std::this_thread::sleep_for(50ms);
  ::pthread_cancel(thread);
  std::this_thread::sleep_for(50ms);
  CHECK(state.status == -1);
  ::close(ends[1]);  // the end of the package: too short, so it is refused
  void* result = nullptr;
  ::pthread_join(thread, &result);
  CHECK(result == PTHREAD_CANCELED);
  CHECK(fussy_status_exit_code(state.status) == 20);
  CHECK(!state.went_on);
  ::close(ends[0]);
}

TEST_CASE("a callback that calls its session gets an answer instead of a deadlock") {
  device d;
  struct caller {
    fussy_session* session;
    int32_t status = FUSSY_OK;
  } c{d};
  fussy_session_set_log(
      d,
      [](void* user, int32_t, const char*) {
        auto& self = *static_cast<caller*>(user);
        self.status = fussy_session_install(self.session);
      },
      &c);
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  CHECK(c.status == FUSSY_USAGE);
}

TEST_CASE("what a C++ callback throws, though it must not, ends as cancelled") {
  device d;
  fussy_session_set_progress(
      d, [](void*, const fussy_progress*) -> int32_t { throw std::runtime_error("must not"); }, nullptr);
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_CANCELLED);
}

TEST_CASE("one command at a time changes a target") {
  device d, other;
  fussy_session_set_target(other, d.target().c_str());
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  fussy_session_set_package_fd(d, ends[0]);
  std::atomic<int32_t> first{-1};
  std::thread holder([&] { first = fussy_session_install(d); });
  fussy_target seen = FUSSY_TARGET_INIT;
  for (int i = 0; i < 500 && seen.busy == 0; ++i) {
    std::this_thread::sleep_for(10ms);
    REQUIRE(fussy_session_status(other, &seen) == FUSSY_OK);
  }
  CHECK(seen.busy == 1);
  fussy_session_set_package_path(other, the_vendor().package("fw-1").c_str());
  const int32_t second = fussy_session_install(other);
  CHECK((second == FUSSY_ALREADY_HELD || second == FUSSY_BUSY));
  CHECK(fussy_session_message(other)[0] != '\0');
  ::close(ends[1]);
  holder.join();
  ::close(ends[0]);
  CHECK(fussy_status_exit_code(first) == 20);
  CHECK(fussy_session_install(other) == FUSSY_OK);
}

TEST_CASE("status, enable, clean and recover") {
  device d;
  fussy_target seen = FUSSY_TARGET_INIT;
  CHECK(fussy_session_status(d, &seen) == FUSSY_OK);
  CHECK(seen.versions == 0);
  CHECK(seen.current == std::string());
  for (const char* name : {"fw-1", "fw-2", "fw-3"}) REQUIRE(d.install(the_vendor().package(name)) == FUSSY_OK);
  CHECK(fussy_session_status(d, &seen) == FUSSY_OK);
  CHECK(seen.versions == 3);
  CHECK(seen.current == std::string("fw-3"));
  CHECK(seen.previous == std::string("fw-2"));
  CHECK(seen.busy == 0);
  CHECK(seen.interrupted == 0);
  fussy_version_info version = FUSSY_VERSION_INFO_INIT;
  CHECK(fussy_session_version(d, 2, &version) == FUSSY_OK);
  CHECK(version.name == std::string("fw-3"));
  CHECK(version.flags == FUSSY_VERSION_CURRENT);
  CHECK(version.files == 2);
  CHECK(version.installed > 1700000000);
  CHECK(fussy_session_version(d, 3, &version) == FUSSY_NOT_FOUND);

  CHECK(fussy_session_enable(d, "fw-1") == FUSSY_OK);
  CHECK(d.current() == "fw-1");
  CHECK(fussy_session_enable(d, "fw-9") == FUSSY_NOT_FOUND);
  uint32_t removed = 0;
  CHECK(fussy_session_clean(d, 1, &removed) == FUSSY_OK);
  CHECK(removed == 1);
  CHECK(fussy_session_removed(d, 0) == std::string("fw-2"));
  CHECK(fussy_session_removed(d, 1) == nullptr);
  CHECK(fussy_session_recover(d) == FUSSY_OK);
  CHECK(d.report().recovered == FUSSY_RECOVERED_NOTHING);
}

TEST_CASE("install_bytes unpacks and does not enable") {
  device d;
  fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
  CHECK(fussy_session_install_bytes(d) == FUSSY_OK);
  CHECK(std::string(d.report().version) == "fw-1");
  CHECK(d.current().empty());
  CHECK(fussy_session_enable(d, "fw-1") == FUSSY_OK);
  CHECK(d.current() == "fw-1");
}

TEST_CASE("unpack makes one directory, or nothing") {
  device d;
  temporary_directory room;
  const auto entries = [&] {
    const std::filesystem::directory_iterator begin(room.path()), end;
    return std::distance(begin, end);
  };
  fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
  CHECK(fussy_session_unpack(d, room.path().c_str()) == FUSSY_OK);
  CHECK(std::string(d.report().path) == (room / "fw-1").string());
  CHECK(slurp(room / "fw-1" / "app") == "fw-1\n");
  CHECK(entries() == 1);
  CHECK(fussy_session_unpack(d, room.path().c_str()) != FUSSY_OK);  // the name is taken: nothing is replaced
  CHECK(entries() == 1);
  const std::string content = slurp(the_vendor().package("fw-2"));
  source half{.bytes = content.substr(0, content.size() / 2)};
  fussy_session_set_package_callback(d, source::read, &half);
  CHECK(fussy_session_unpack(d, room.path().c_str()) != FUSSY_OK);
  CHECK(entries() == 1);
  CHECK(fussy_session_unpack(d, nullptr) == FUSSY_USAGE);
  CHECK(d.listing().empty());  // the target is not used
}

TEST_CASE("every setting of a session reaches what it is for") {
  device d;
  const std::string package = the_vendor().package("fw-1");
  SUBCASE("the time a hook has") {
    REQUIRE(d.install(package) == FUSSY_OK);
    fussy_session_set_hook_timeout(d, 100);
    CHECK(d.install(the_vendor().package("fw-sleeps", "sleep 60")) == FUSSY_REVERTED);
    CHECK(d.report().cause == FUSSY_TIMEOUT);
    CHECK(d.current() == "fw-1");
  }
  SUBCASE("the wait for another command") {
    occupant other(d);
    std::thread ends_it([&] {
      std::this_thread::sleep_for(200ms);
      other.leave();
    });
    fussy_session_set_lock_wait(d, 60000);
    CHECK(d.install(package) == FUSSY_OK);
    ends_it.join();
  }
  // A setting counts: while it is strict the package is refused, and taken back it is not.
  const auto refusal_until = [&](const std::string& file, const std::function<int32_t()>& strict,
                                 const std::function<int32_t()>& lenient) {
    CHECK(strict() == FUSSY_OK);
    const int32_t refusal = d.install(file);
    CHECK(d.current().empty());
    CHECK(lenient() == FUSSY_OK);
    CHECK(d.install(file) == FUSSY_OK);
    return refusal;
  };
  SUBCASE("hashes that count") {
    const int32_t refusal = refusal_until(
        package, [&] { return fussy_session_allow_hash(d, "SHA3-512"); },
        [&] { return fussy_session_allow_hash(d, nullptr); });
    CHECK(fussy_status_exit_code(refusal) == 20);
  }
  SUBCASE("the time, before the key was made") {
    const int32_t refusal = refusal_until(
        package, [&] { return fussy_session_set_time(d, 1'000'000'000); },
        [&] { return fussy_session_set_time(d, FUSSY_TIME_CLOCK); });
    CHECK(fussy_status_exit_code(refusal) == 20);
  }
  SUBCASE("that a signature expires, and that this is ignored") {
    const std::string brief = the_vendor().at("fw-brief.gpg");
    shell(the_vendor().gpg() + "--yes --default-sig-expire 1d -o " + brief + " --sign " +
          the_vendor().at("fw-1.tar.gz"));
    const int32_t refusal = refusal_until(
        brief, [&] { return fussy_session_set_time(d, static_cast<int64_t>(::time(nullptr)) + 366 * 86400); },
        [&] { return fussy_session_set_ignore_expiry(d, 1); });
    CHECK(refusal == FUSSY_SIGNATURE_EXPIRED);
  }
  SUBCASE("the length of paths") {
    const int32_t refusal = refusal_until(
        package, [&] { return fussy_session_set_max_path(d, 5, 10); },
        [&] { return fussy_session_set_max_path(d, 4095, 2); });
    CHECK(fussy_status_exit_code(refusal) == 21);
  }
  SUBCASE("the size of an RSA key") {
    const vendor rsa("", "rsa2048");
    const std::string file = rsa.package("fw-1");
    fussy_session_set_keyring(d, rsa.keys().c_str());
    const int32_t refusal = refusal_until(
        file, [&] { return fussy_session_set_min_rsa_bits(d, 3072); },
        [&] { return fussy_session_set_min_rsa_bits(d, 2048); });
    CHECK(refusal == FUSSY_WEAK_ALGORITHM);
  }
  SUBCASE("whether SHA-1 will do where a key speaks of itself") {
    const vendor old("", "rsa2048", "--cert-digest-algo SHA1 ");
    const std::string file = old.package("fw-1");
    fussy_session_set_keyring(d, old.keys().c_str());
    const int32_t refusal = refusal_until(
        file, [&] { return fussy_session_set_sha1_self_signatures(d, 0); },
        [&] { return fussy_session_set_sha1_self_signatures(d, 1); });
    CHECK(fussy_status_exit_code(refusal) == 20);
  }
  SUBCASE("how much a package may swell") {
    const int32_t refusal = refusal_until(
        the_vendor().package("fw-swells", "", 80 * 1024), [&] { return fussy_session_set_max_ratio(d, 50); },
        [&] { return fussy_session_set_max_ratio(d, 0); });
    CHECK(refusal == FUSSY_TOO_LARGE);
  }
  SUBCASE("that nothing is decrypted") {
    const vendor secret;
    const std::string file = secret.encrypted("fw-1");
    fussy_session_set_keyring(d, secret.home().c_str());
    const int32_t refusal = refusal_until(
        file, [&] { return fussy_session_set_decrypt(d, 0); }, [&] { return fussy_session_set_decrypt(d, 1); });
    CHECK(fussy_status_exit_code(refusal) == 20);
    CHECK(d.report().encrypted == 1);
  }
}

TEST_CASE("a setter refuses what cannot be, and the session stays as it was") {
  device d;
  CHECK(fussy_session_set_min_signers(d, 0) == FUSSY_USAGE);
  CHECK(fussy_session_message(d)[0] != '\0');
  CHECK(fussy_session_allow_signer(d, "no fingerprint") == FUSSY_USAGE);
  CHECK(fussy_session_set_min_rsa_bits(d, 512) == FUSSY_USAGE);
  CHECK(fussy_session_set_ignore_expiry(d, 2) == FUSSY_USAGE);
  CHECK(fussy_session_set_decrypt(d, -1) == FUSSY_USAGE);
  CHECK(fussy_session_set_time(d, -2) == FUSSY_USAGE);
  CHECK(fussy_session_set_unpack(d, 3) == FUSSY_USAGE);
  CHECK(fussy_session_set_max_path(d, 0, 1) == FUSSY_USAGE);
  CHECK(fussy_session_set_max_path(d, 5000, 1) == FUSSY_USAGE);
  CHECK(fussy_session_set_package_path(d, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_set_package_fd(d, -1) == FUSSY_USAGE);
  CHECK(fussy_session_set_package_callback(d, nullptr, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_set_compression(d, 9, 0) == FUSSY_USAGE);
  CHECK(fussy_session_set_compression(d, FUSSY_COMPRESSION_GZIP, 10) == FUSSY_USAGE);
  CHECK(fussy_session_set_package_name(d, "a/b") == FUSSY_USAGE);
  CHECK(fussy_session_set_armor(d, 7) == FUSSY_USAGE);
  CHECK(fussy_session_set_dry_run(d, 2) == FUSSY_USAGE);
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
}

TEST_CASE("the report of a version that failed names it and what is live again, and status marks it") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  CHECK(d.install(the_vendor().package("fw-fails", "exit 1")) == FUSSY_REVERTED);
  CHECK(std::string(d.report().version) == "fw-fails");
  CHECK(std::string(d.report().previous) == "fw-1");
  fussy_target seen = FUSSY_TARGET_INIT;
  REQUIRE(fussy_session_status(d, &seen) == FUSSY_OK);
  CHECK(seen.hidden == 0);
  for (uint32_t i = 0; i < seen.versions; ++i) {
    fussy_version_info version = FUSSY_VERSION_INFO_INIT;
    REQUIRE(fussy_session_version(d, i, &version) == FUSSY_OK);
    CHECK(((version.flags & FUSSY_VERSION_FAILED) != 0) == (version.name == std::string("fw-fails")));
  }
}

TEST_CASE(
    "who may not look into the private directory gets what everybody can see, and is told that the rest is not known") {
  if (::geteuid() != 0) return test::skip("needs root, to be somebody else");
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  REQUIRE(::chmod(d.target().c_str(), 0755) == 0);
  REQUIRE(::chmod((d.target() + "/.fussy").c_str(), 0700) == 0);
  fussy_target seen = FUSSY_TARGET_INIT;
  constexpr uid_t nobody = 65534;
  REQUIRE(::seteuid(nobody) == 0);
  const int32_t status = fussy_session_status(d, &seen);
  REQUIRE(::seteuid(0) == 0);
  CHECK(status == FUSSY_OK);
  CHECK(seen.hidden == 1);
  CHECK(seen.versions == 1);
  CHECK(std::string(seen.current) == "fw-1");
}

TEST_CASE("an empty path is refused when it is set, and the session stays as it was") {
  device d;
  CHECK(fussy_session_set_target(d, "") == FUSSY_USAGE);
  CHECK(fussy_session_set_keyring(d, "") == FUSSY_USAGE);
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
}

TEST_CASE("limits are obeyed") {
  device d;
  SUBCASE("entries") { fussy_session_set_max_entries(d, 2); }
  SUBCASE("bytes") { fussy_session_set_max_bytes(d, 1000); }
  CHECK(d.install(the_vendor().package("fw-1")) == FUSSY_TOO_LARGE);
  CHECK(d.listing().empty());
}

TEST_CASE("every function answers a NULL handle, as after freeing, with a status") {
  fussy_session* s = nullptr;
  fussy_report report = FUSSY_REPORT_INIT;
  fussy_target target = FUSSY_TARGET_INIT;
  fussy_signer signer = FUSSY_SIGNER_INIT;
  fussy_version_info version = FUSSY_VERSION_INFO_INIT;
  fussy_key key = FUSSY_KEY_INIT;
  fussy_signature signature = FUSSY_SIGNATURE_INIT;
  fussy_recipient recipient = FUSSY_RECIPIENT_INIT;
  const int32_t statuses[] = {fussy_session_new(nullptr),
                              fussy_session_report(s, &report),
                              fussy_session_set_keyring(s, "/"),
                              fussy_session_set_target(s, "/"),
                              fussy_session_set_lock_wait(s, 1),
                              fussy_session_set_hook_timeout(s, 1),
                              fussy_session_set_min_signers(s, 1),
                              fussy_session_allow_signer(s, nullptr),
                              fussy_session_set_min_rsa_bits(s, 2048),
                              fussy_session_allow_hash(s, nullptr),
                              fussy_session_set_sha1_self_signatures(s, 1),
                              fussy_session_set_ignore_expiry(s, 1),
                              fussy_session_set_decrypt(s, 1),
                              fussy_session_set_time(s, 1),
                              fussy_session_set_unpack(s, 1),
                              fussy_session_set_max_entries(s, 1),
                              fussy_session_set_max_bytes(s, 1),
                              fussy_session_set_max_ratio(s, 1),
                              fussy_session_set_max_path(s, 1, 1),
                              fussy_session_set_log(s, nullptr, nullptr),
                              fussy_session_set_progress(s, nullptr, nullptr),
                              fussy_session_set_passphrase(s, nullptr, nullptr),
                              fussy_session_set_package_path(s, "/"),
                              fussy_session_set_package_fd(s, 0),
                              fussy_session_set_package_callback(s, source::read, nullptr),
                              fussy_session_cancel(s),
                              fussy_session_clear_cancel(s),
                              fussy_session_install(s),
                              fussy_session_install_bytes(s),
                              fussy_session_enable(s, "x"),
                              fussy_session_recover(s),
                              fussy_session_clean(s, 0, nullptr),
                              fussy_session_unpack(s, "/"),
                              fussy_session_verify(s),
                              fussy_session_signer(s, 0, &signer),
                              fussy_session_set_dry_run(s, 1),
                              fussy_session_inspect(s, nullptr, nullptr, nullptr),
                              fussy_session_signature(s, 0, &signature),
                              fussy_session_recipient(s, 0, &recipient),
                              fussy_session_status(s, &target),
                              fussy_session_version(s, 0, &version),
                              fussy_session_keys(s, nullptr),
                              fussy_session_key(s, 0, &key),
                              fussy_session_add_signing_key(s, "x"),
                              fussy_session_add_recipient(s, "x"),
                              fussy_session_add_exclude(s, "x"),
                              fussy_session_set_package_name(s, "x"),
                              fussy_session_set_compression(s, 0, 0),
                              fussy_session_set_armor(s, 0),
                              fussy_session_pack(s, "x", nullptr, 0),
                              fussy_session_sign(s, "x")};
  for (std::size_t i = 0; i < std::size(statuses); ++i) {
    CAPTURE(i);
    CHECK(statuses[i] == FUSSY_USAGE);
  }
  CHECK(fussy_session_message(s)[0] != '\0');
  CHECK(fussy_session_removed(s, 0) == nullptr);
  fussy_session_free(s);
}

TEST_CASE("where a pointer is needed and NULL is given, there is a status and no crash") {
  device d;
  CHECK(fussy_install(nullptr, nullptr, nullptr, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_report(d, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_enable(d, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_status(d, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_signer(d, 0, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_version(d, 0, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_key(d, 0, nullptr) == FUSSY_USAGE);
  CHECK(fussy_session_pack(d, nullptr, nullptr, 1) != FUSSY_OK);
  CHECK(fussy_session_sign(d, nullptr) != FUSSY_OK);
  CHECK(fussy_session_install(d) == FUSSY_USAGE);  // without a package
}

/// What of the host a library could change behind its back.
std::string state_of_process() {
  std::string state = std::filesystem::current_path().string() + "\n" + std::setlocale(LC_ALL, nullptr) + "\n" +
                      std::locale().name() + "\n";
  for (char** variable = environ; *variable != nullptr; ++variable) state += std::string(*variable) + "\n";
  for (int number = 1; number < 65; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) == 0)
      state += std::to_string(reinterpret_cast<std::uintptr_t>(action.sa_handler)) + " ";
  }
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  for (int number = 1; number < 65; ++number) state += ::sigismember(&mask, number) == 1 ? '1' : '0';
  const mode_t umask_now = ::umask(022);
  ::umask(umask_now);
  state += " " + std::to_string(umask_now) + "\n";
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto to = std::filesystem::read_symlink(entry.path(), gone).string();
    if (!gone && to.find("/proc/") == std::string::npos) state += entry.path().filename().string() + " -> " + to + "\n";
  }
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    state += "thread " + entry.path().filename().string() + "\n";
  return state;
}

TEST_CASE("nothing of the host changes: directory, locale, environment, signals, umask, descriptors, threads, output") {
  device d;
  const std::string good = the_vendor().package("fw-1", "echo hi"), bad = the_vendor().package("fw-bad", "exit 1");
  // Everything the program would print goes into a file meanwhile.
  const fussy::unique_fd out(::dup(1)), err(::dup(2));
  temporary_directory room;
  const std::string words = (room / "output").string();
  const fussy::unique_fd file = fussy::open_file(words, O_RDWR | O_CREAT, 0600);
  std::fflush(nullptr);
  ::dup2(file.get(), 1);
  ::dup2(file.get(), 2);
  const std::string before = state_of_process();
  const int32_t first = d.install(good), second = d.install(bad), third = d.install("/nonexistent");
  const int32_t fourth = fussy_session_verify(d), fifth = fussy_session_clean(d, 0, nullptr);
  const std::string after = state_of_process();
  std::fflush(nullptr);
  ::dup2(out.get(), 1);
  ::dup2(err.get(), 2);
  CHECK(first == FUSSY_OK);
  CHECK(second == FUSSY_REVERTED);
  CHECK(third == FUSSY_NOT_FOUND);
  CHECK(fourth == FUSSY_NOT_FOUND);
  CHECK(fifth == FUSSY_OK);
  CHECK(before == after);
  CHECK(slurp(words) == "");
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left
}

TEST_CASE("distinct sessions on distinct threads do not know of each other") {
  the_vendor().package("fw-1", "true");
  the_vendor().package("fw-bad", "exit 1");
  std::vector<std::thread> threads;
  std::atomic<int> good{0}, reverted{0}, restored{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      device d;
      steps progress;
      fussy_session_set_progress(d, steps::take, &progress);
      for (int i = 0; i < 3; ++i) good += d.install(the_vendor().package("fw-1")) == FUSSY_OK;
      reverted += d.install(the_vendor().package("fw-bad")) == FUSSY_REVERTED;
      restored += d.current() == "fw-1-2";
      good += fussy_session_verify(d) == FUSSY_OK;
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(good == 16);
  CHECK(reverted == 4);
  CHECK(restored == 4);
}

}  // namespace
