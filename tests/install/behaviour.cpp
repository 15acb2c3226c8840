// Installing real packages into real directories: what an operator sees.
#include <doctest/doctest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <fussy/deadline.hpp>

#include <thread>

#include "device.hpp"
#include "support/skip.hpp"

using namespace test;

namespace {

fs::path good(const std::string& label) {
  static std::map<std::string, fs::path> made;
  auto& path = made[label];
  if (path.empty()) path = vendor::of_all_tests().package("app-" + label, version_files(label));
  return path;
}

fs::path failing(const std::string& label, int pre, int post) {
  static std::map<std::string, fs::path> made;
  auto& path = made[label + std::to_string(pre) + std::to_string(post)];
  if (path.empty()) path = vendor::of_all_tests().package("app-" + label, version_files(label, pre, post));
  return path;
}

fussy::error failure_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const fussy::error& e) {
    return e;
  }
  return fussy::error(errc::success, "nothing failed");
}

std::string notes(const device& d) { return content_of_file(d.directory() / "notes"); }

}  // namespace

TEST_SUITE_BEGIN("install: behaviour");

TEST_CASE("a first install makes the version live by a relative link") {
  device d;
  const auto report = d.install(good("1"));
  CHECK(report.version == "app-1");
  CHECK(report.path == d.target() / "app-1");
  CHECK(report.previous.empty());
  REQUIRE(report.signers.size() == 1);
  CHECK(report.signers[0].user_id == "Vendor <vendor@example.com>");
  CHECK(d.current() == "app-1");
  CHECK(d.read("current/app") == "program 1");
  CHECK(notes(d) == ".pre-install app-1 False\n.post-install app-1 False\n");
  CHECK(d.litter().empty());
}

TEST_CASE("the same package installed again gets the first free number") {
  device d;
  d.install(good("1"));
  CHECK(d.install(good("1")).version == "app-1-1");
  CHECK(d.install(good("1")).version == "app-1-2");
  fs::remove_all(d.target() / "app-1-1");
  CHECK(d.install(good("1")).version == "app-1-1");
  CHECK(d.current() == "app-1-1");
}

TEST_CASE("a dangling link in the way of a name is not followed: the name is taken") {
  device d;
  fs::create_symlink("../outside", d.target() / "app-1");
  CHECK(d.install(good("1")).version == "app-1-1");
  CHECK_FALSE(fs::exists(d.directory() / "outside"));
}

TEST_CASE("an upgrade shares unchanged files with the running version and never writes into them") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target() / "app-1");
  const auto report = d.install(good("2"));
  CHECK(report.previous == "app-1");
  CHECK(report.unpacked.shared >= 1);
  struct stat old_file {
  }, new_file{};
  REQUIRE(::stat((d.target() / "app-1/lib/data").c_str(), &old_file) == 0);
  REQUIRE(::stat((d.target() / "app-2/lib/data").c_str(), &new_file) == 0);
  CHECK(old_file.st_ino == new_file.st_ino);
  CHECK(snapshot(d.target() / "app-1") == before);
  CHECK(d.read("app-2/app") == "program 2");
}

TEST_CASE("a file of the same size and time but other content is never shared") {
  device d;
  d.install(good("1"));
  d.install(good("2"));  // "program 1" and "program 2", both of the same time
  CHECK(d.read("app-1/app") == "program 1");
  CHECK(d.read("app-2/app") == "program 2");
}

TEST_CASE("a failing .pre-install: the new directory is removed, previous is enabled again, the cause is told") {
  device d;
  d.install(good("1"));
  fs::remove(d.directory() / "notes");
  const fussy::error e = failure_of([&] { d.install(failing("2", 7, 0)); });
  CHECK(e.code() == errc::reverted);
  CHECK(e.cause() == errc::process_failed);
  CHECK(e.parts().output == "words of .pre-install\n");
  CHECK(std::string(e.what()).find("app-1 is live again") != std::string::npos);
  CHECK(d.current() == "app-1");
  CHECK_FALSE(d.has("app-2"));
  CHECK(notes(d) == ".pre-install app-2 False\n.pre-install app-1 True\n.post-install app-1 True\n");
  CHECK(d.litter().empty());
}

TEST_CASE("a failing .post-install: the directory stays for inspection, current goes back") {
  device d;
  d.install(good("1"));
  fs::remove(d.directory() / "notes");
  const fussy::error e = failure_of([&] { d.install(failing("2", 0, 7)); });
  CHECK(e.code() == errc::reverted);
  CHECK(d.current() == "app-1");
  CHECK(d.read("app-2/app") == "program 2");
  CHECK(notes(d) ==
        ".pre-install app-2 False\n.post-install app-2 False\n.pre-install app-1 True\n.post-install app-1 True\n");
  CHECK(d.litter().empty());
}

TEST_CASE("previous fails too: failsafe is enabled; and when that fails, status unrecoverable") {
  for (const bool failsafe_works : {true, false}) {
    CAPTURE(failsafe_works);
    device d;
    make_tree(d.target() / "failsafe", version_files("f", 0, failsafe_works ? 0 : 3));
    d.install(good("1"));
    write_file(d.target() / "app-1/.post-install", noting_hook(5), true);
    write_file(d.target() / "app-1/.pre-install", noting_hook(5), true);  // is no reason to stop going back
    const fussy::error e = failure_of([&] { d.install(failing("2", 0, 7)); });
    CHECK(e.code() == (failsafe_works ? errc::reverted : errc::unrecoverable));
    CHECK(e.cause() == errc::process_failed);
    CHECK(d.current() == "failsafe");
    CHECK(d.litter().empty());
  }
}

TEST_CASE("a failing .pre-install of the version that is gone back to does not stop it: it is live again") {
  device d;
  d.install(good("1"));
  write_file(d.target() / "app-1/.pre-install", noting_hook(5), true);
  fs::remove(d.directory() / "notes");
  CHECK(failure_of([&] { d.install(failing("2", 0, 7)); }).code() == errc::reverted);
  CHECK(d.current() == "app-1");
  CHECK(notes(d) ==
        ".pre-install app-2 False\n.post-install app-2 False\n.pre-install app-1 True\n.post-install app-1 True\n");
}

TEST_CASE("with nothing to go back to a failure is unrecoverable") {
  SUBCASE("before the switch nothing is live") {
    device d;
    CHECK(failure_of([&] { d.install(failing("2", 1, 0)); }).code() == errc::unrecoverable);
    CHECK(d.current().empty());
    CHECK_FALSE(d.has("app-2"));
  }
  SUBCASE("after the switch the new version stays live: a device with something is better off than one with nothing") {
    device d;
    CHECK(failure_of([&] { d.install(failing("2", 0, 1)); }).code() == errc::unrecoverable);
    CHECK(d.current() == "app-2");
  }
}

TEST_CASE("hooks see a fixed environment, their output is in the log line by line") {
  device d;
  const fs::path package = vendor::of_all_tests().package(
      "app", {{".pre-install!", "#!/bin/sh\necho \"args $1 $2\"\necho oops >&2\npwd\nenv | sort\n"}});
  ::setenv("SECRET_OF_THE_HOST", "x", 1);
  d.install(package);
  const auto has = [&](const std::string& line) {
    return d.log.find("INFO .pre-install: " + line + "\n") != std::string::npos;
  };
  CHECK(has("args " + (d.target() / "app").string() + " False"));
  CHECK(has("oops"));
  CHECK(has("/"));
  CHECK(has("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  CHECK(has("LANG=C.UTF-8"));
  CHECK(has("FUSSY_HOOK=.pre-install"));
  CHECK(has("FUSSY_TARGET=" + d.target().string()));
  CHECK(has("FUSSY_VERSION=app"));
  CHECK(has("FUSSY_PREVIOUS="));
  CHECK(has("FUSSY_RECOVERY=False"));
  CHECK(d.log.find("SECRET_OF_THE_HOST") == std::string::npos);
}

/// qemu-user makes a fork of the vfork(2) by which a child tells its parent.
bool system_tells_why_nothing_started() {
  char* const no_arguments[] = {nullptr};
  pid_t pid = -1;
  if (posix_spawn(&pid, "/no/such/program", nullptr, nullptr, no_arguments, no_arguments) != 0) return true;
  waitpid(pid, nullptr, 0);
  return false;
}

TEST_CASE("a hook that cannot be run fails the install, and the message says how to repair it") {
  const auto message = [](const files& content) {
    device d;
    return std::string(failure_of([&] { d.install(vendor::of_all_tests().package("app", content)); }).what());
  };
  CHECK(message({{".pre-install", "#!/bin/sh\n"}}).find("executable") != std::string::npos);
  CHECK_FALSE(message({{".pre-install/file", "a directory"}}).empty());
  if (!system_tells_why_nothing_started())
    return test::skip_part("posix_spawn(3) does not fail here where there is no program (qemu-user)");
  CHECK(message({{".pre-install!", "no interpreter\n"}}).find("#!/bin/sh") != std::string::npos);
  CHECK(message({{".pre-install!", "#!/no/such/shell\n"}}).find("interpreter") != std::string::npos);
}

TEST_CASE("a hook that hangs is killed with all it started, and the install goes back") {
  device d;
  d.install(good("1"));
  const fs::path package = vendor::of_all_tests().package(
      "app-2", {{".post-install!", "#!/bin/sh\nsleep 1000 &\necho $! > \"$FUSSY_TARGET/../pid\"\nsleep 1000\n"}});
  install::options how = d.how();
  how.hook_timeout = std::chrono::milliseconds(700);
  const fussy::error e = failure_of([&] { install::install(package, how); });
  CHECK(e.code() == errc::reverted);
  CHECK(e.cause() == errc::timeout);
  CHECK(d.current() == "app-1");
  const int pid = std::stoi("0" + content_of_file(d.directory() / "pid"));
  CHECK(pid > 0);
  for (int i = 0; i < 100 && ::kill(pid, 0) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::string state = content_of_file("/proc/" + std::to_string(pid) + "/stat");
  CHECK((::kill(pid, 0) != 0 || state.find(") Z") != std::string::npos));
}

TEST_CASE("a hook that writes without pause is ended when its time is over, and when the caller stops") {
  device d;
  d.install(good("1"));
  install::options how = d.how();
  std::stop_source stop;
  SUBCASE("time") { how.hook_timeout = std::chrono::milliseconds(300); }
  SUBCASE("stop") { how.stop = stop.get_token(); }
  const std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    if (how.stop.stop_possible()) stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const fussy::error e = failure_of([&] {
    install::install(vendor::of_all_tests().package("app-2", {{".pre-install!", "#!/bin/sh\nexec yes\n"}}), how);
  });
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  CHECK((e.cause() == errc::timeout || e.cause() == errc::cancelled));
  CHECK(d.current() == "app-1");
}

TEST_CASE("gotcha: a service that a hook starts in the background neither delays the install nor dies with it") {
  device d;
  const fs::path package = vendor::of_all_tests().package(
      "app", {{".post-install!", "#!/bin/sh\nsleep 30 &\necho $! > \"$FUSSY_TARGET/../pid\"\n"}});
  const auto begin = std::chrono::steady_clock::now();
  d.install(package);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
  const int pid = std::stoi("0" + content_of_file(d.directory() / "pid"));
  CHECK(::kill(pid, 0) == 0);
  ::kill(pid, SIGKILL);
}

TEST_CASE("a refused package leaves the target as it was, byte for byte") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target());
  const std::string whole = content_of_file(good("2"));
  const fs::path package = d.directory() / "package";
  const auto refused = [&](const std::string& what, const std::string& content, bool stream) {
    CAPTURE(what);
    CAPTURE(stream);
    write_file(package, content);
    errc code = errc::success;
    try {
      if (stream)
        install::install(any_reader(file_reader(package)), d.how());
      else
        d.install(package);
    } catch (const fussy::error& e) {
      code = e.code();
    }
    CAPTURE(std::string(name(code)));
    CHECK(exit_status(code) == 20);
    CHECK(snapshot(d.target()) == before);
    CHECK(d.litter().empty());
  };
  for (const bool stream : {false, true}) {
    const std::size_t step = whole.size() / 24;
    for (std::size_t at = 4; at < whole.size(); at += step) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
      refused("flipped at " + std::to_string(at), damaged, stream);
      refused("cut at " + std::to_string(at), whole.substr(0, at), stream);
    }
    refused("something follows", whole + "x", stream);
    refused("empty", "", stream);
  }
  std::string tar = output_of({"tar", "-C", d.target().string(), "-czf", "-", "app-1"});
  refused("not signed at all", tar, false);
  refused("stored, not signed", vendor::of_all_tests().gpg({"--store"}, tar), false);
}

TEST_CASE("a package by a key that is not in the key ring is refused") {
  device d;
  vendor stranger;
  install::options how = d.how();
  const fs::path package = stranger.package("app", version_files("evil"));
  CHECK(failure_of([&] { install::install(package, how); }).code() == errc::unknown_signer);
  CHECK(snapshot(d.target()).empty());
  CHECK_FALSE(d.has(".fussy"));  // a file is proven before the target is touched at all
}

TEST_CASE("attack: CVE-2020-25860, the package is exchanged between its verification and its use") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target());
  // Two packages of one size: the proven one, and what an attacker puts in its place while it is unpacked.
  const std::string content = content_of_file(good("2"));
  const fs::path package = d.directory() / "package";
  install::options how = d.how();
  std::string evil = content;
  SUBCASE("with another content") { evil[content.size() / 2] = static_cast<char>(evil[content.size() / 2] ^ 1); }
  SUBCASE("with another package that is signed as well") { evil = content_of_file(good("1")); }
  SUBCASE("with less") { evil.resize(content.size() / 2); }
  SUBCASE("with more") { evil += "more"; }
  write_file(package, content);
  how.progress = [&](const progress& p) {
    if (p.at != phase::verifying || p.done != p.total) return;  // the last octet has been read for the proof
    std::ofstream(package, std::ios::binary | std::ios::trunc) << evil;
  };
  const fussy::error e = failure_of([&] { install::install(package, how); });
  // What was appended before the proof had seen the end is no message any more; all else changed behind the proof.
  CHECK((e.code() == errc::package_changed || (evil.size() > content.size() && e.code() == errc::bad_message)));
  CHECK(snapshot(d.target()) == before);
  CHECK(d.litter().empty());
}

TEST_CASE("a stream gives the same as a file, and a broken one leaves nothing") {
  device file, stream;
  const fs::path package = good("2");
  file.install(package);
  install::install(any_reader(file_reader(package)), stream.how());
  CHECK(stream.current() == file.current());
  CHECK(output_of({"tar", "-C", file.target().string(), "--sort=name", "-cf", "-", "app-2"}) ==
        output_of({"tar", "-C", stream.target().string(), "--sort=name", "-cf", "-", "app-2"}));

  struct broken {
    file_reader file;
    std::size_t left;
    std::size_t read(byte_span room) {
      if (left == 0) throw fussy::error(errc::io, "the connection was reset");
      const std::size_t n = file.read(room.first(std::min(room.size(), left)));
      left -= n;
      return n;
    }
  };
  const std::string before = snapshot(stream.target());
  for (const std::size_t at : {0u, 10u, 100u, 400u})
    CHECK(failure_of([&] {
            install::install(any_reader(broken{file_reader(package), at}), stream.how());
          }).code() == errc::io);
  CHECK(snapshot(stream.target()) == before);
  CHECK(stream.litter().empty());
}

TEST_CASE("policy: after_proof refuses a stream, early reads a file once") {
  device d;
  install::options how = d.how();
  how.policy.unpack = openpgp::policy::unpack_when::after_proof;
  CHECK(failure_of([&] { install::install(any_reader(file_reader(good("1"))), how); }).code() == errc::usage);
  CHECK(install::install(good("1"), how).version == "app-1");
  how.policy.unpack = openpgp::policy::unpack_when::early;
  CHECK(install::install(good("2"), how).version == "app-2");
}

TEST_CASE("what is not set up is said, with the exit status for it") {
  device d;
  install::options how = d.how();
  SUBCASE("the target is missing") {
    how.target = d.directory() / "missing";
    CHECK(failure_of([&] { install::install(good("1"), how); }).code() == errc::target_unusable);
    CHECK_FALSE(fs::exists(how.target));
  }
  SUBCASE("the target is a file") {
    how.target = d.directory() / "file";
    write_file(how.target, "");
    CHECK(failure_of([&] { install::install(good("1"), how); }).code() == errc::target_unusable);
  }
  SUBCASE("the target's .fussy is not ours") {
    fs::create_directory_symlink("/tmp", d.target() / ".fussy");
    CHECK(failure_of([&] { install::install(good("1"), how); }).code() == errc::target_unusable);
  }
  SUBCASE("the package is missing") {
    CHECK(failure_of([&] { install::install(d.directory() / "nothing", how); }).code() == errc::not_found);
    CHECK(exit_status(errc::not_found) == 2);
  }
  SUBCASE("the package is a directory") {
    CHECK(failure_of([&] { install::install(d.directory(), how); }).code() == errc::not_found);
  }
  SUBCASE("the key ring is missing") {
    how.keyring = d.directory() / "nothing";
    CHECK(failure_of([&] { install::install(good("1"), how); }).code() == errc::keyring_unusable);
  }
  CHECK(snapshot(d.target()).find("app-1") == std::string::npos);
}

TEST_CASE("a root directory that a version may not be called is refused") {
  device d;
  for (const std::string name : {"current", "failsafe", ".hidden"}) {
    CAPTURE(name);
    const fussy::error e = failure_of([&] { d.install(vendor::of_all_tests().package(name, {{"app", "x"}})); });
    CHECK(e.code() == errc::bad_root);
    CHECK(snapshot(d.target()).empty());
    CHECK(d.litter().empty());
  }
}

TEST_CASE("install_bytes publishes without enabling, enable makes it live") {
  device d;
  d.install(good("1"));
  fs::remove(d.directory() / "notes");
  const auto report = install::install_bytes(good("2"), d.how());
  CHECK(report.path == d.target() / "app-2");
  CHECK(d.current() == "app-1");
  CHECK(notes(d).empty());
  SUBCASE("by its path") { CHECK(install::enable(report.path, d.how()).version == "app-2"); }
  SUBCASE("by its path with a slash") { CHECK(install::enable(report.path / "", d.how()).version == "app-2"); }
  SUBCASE("by its bare name") { CHECK(install::enable("app-2", d.how()).version == "app-2"); }
  CHECK(d.current() == "app-2");
  CHECK(notes(d) == ".pre-install app-2 False\n.post-install app-2 False\n");
  // And back again, since it is there.
  CHECK(install::enable("app-1", d.how()).previous == "app-2");
  CHECK(d.current() == "app-1");
}

TEST_CASE("enable refuses what is no version of the target") {
  device d;
  d.install(good("1"));
  make_tree(d.directory() / "elsewhere", version_files("x"));
  write_file(d.target() / "file", "");
  for (const fs::path& path : {d.directory() / "elsewhere", d.target() / "missing", d.target() / "file",
                               d.target() / ".fussy", d.target() / "app-1/lib", fs::path("missing")}) {
    CAPTURE(path);
    CHECK(failure_of([&] { install::enable(path, d.how()); }).code() == errc::not_found);
    CHECK(d.current() == "app-1");
  }
}

TEST_CASE("enabling an unpacked version that fails keeps it: this command did not make it") {
  device d;
  d.install(good("1"));
  install::install_bytes(failing("2", 7, 0), d.how());
  CHECK(failure_of([&] { install::enable("app-2", d.how()); }).code() == errc::reverted);
  CHECK(d.has("app-2/app"));
  CHECK(d.current() == "app-1");
}

TEST_CASE("a limit on the size of files is an error, not a signal; the signals of the host are as before") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target());
  const fs::path package = vendor::of_all_tests().package("app-2", {{"large", std::string(300'000, 'x')}});
  child limited([&](int) {
    ::signal(SIGXFSZ, SIG_DFL);
    const rlimit most{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &most) != 0) return 2;
    const fussy::error e = failure_of([&] { d.install(package); });
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    const bool says_how = std::string(e.what()).find("ulimit -f") != std::string::npos;
    return e.code() == errc::resource_limit && says_how && ::sigismember(&mask, SIGXFSZ) == 0 ? 0 : 1;
  });
  CHECK(limited.wait() == 0);
  CHECK(snapshot(d.target()) == before);
  CHECK(d.litter().empty());
}

TEST_CASE("another command at work: busy, with its PID; with a wait, its turn comes") {
  device d;
  d.install(good("1"));
  child other([&](int ready) {
    install::transaction tx(d.target());
    child::say_ready(ready);
    ::usleep(400'000);
    return 0;
  });
  REQUIRE(other.ready());
  const fussy::error e = failure_of([&] { d.install(good("2")); });
  CHECK(e.code() == errc::busy);
  CHECK(std::string(e.what()).find(std::to_string(other.pid())) != std::string::npos);
  CHECK(install::status(d.target()).busy == other.pid());
  install::options patient = d.how();
  patient.lock_wait = std::chrono::seconds(60);
  CHECK(install::install(good("2"), patient).version == "app-2");
  CHECK(other.wait() == 0);
  CHECK_FALSE(install::status(d.target()).busy.has_value());
}

TEST_CASE("two installs in one process do not run into each other") {
  device d;
  install::transaction tx(d.target());
  CHECK(failure_of([&] { d.install(good("1")); }).code() == errc::already_held);
}

TEST_CASE("a caller who asks to stop gets the target as it was") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target());
  for (const phase at : {phase::verifying, phase::unpacking, phase::syncing, phase::publishing}) {
    CAPTURE(std::string(name(at)));
    std::stop_source stop;
    install::options how = d.how();
    how.stop = stop.get_token();
    how.progress = [&](const progress& p) {
      if (p.at == at) stop.request_stop();
    };
    CHECK(failure_of([&] { install::install(good("2"), how); }).code() == errc::cancelled);
    CHECK(snapshot(d.target()) == before);
    CHECK(d.litter().empty());
  }
}

TEST_CASE("a caller who asks to stop while a hook runs gets the version before back, and nothing of the new one") {
  device d;
  d.install(good("1"));
  for (const std::string hook : {".pre-install", ".post-install"}) {
    CAPTURE(hook);
    const fs::path slow = vendor::of_all_tests().package("app-slow", {{hook + "!", "#!/bin/sh\nexec sleep 1000\n"}});
    std::stop_source stop;
    install::options how = d.how();
    how.stop = stop.get_token();
    how.progress = [&](const progress& p) {
      if (p.at == (hook == ".pre-install" ? phase::pre_install : phase::post_install)) stop.request_stop();
    };
    const fussy::error e = failure_of([&] { install::install(slow, how); });
    CHECK(e.code() == errc::cancelled);
    CHECK(e.cause() == errc::cancelled);
    CHECK(e.parts().version == "app-slow");
    CHECK(e.parts().live == "app-1");
    CHECK(e.parts().remedy == "app-1 is live again; install it again when it suits");
    CHECK(d.current() == "app-1");
    CHECK_FALSE(d.has("app-slow"));
    CHECK(install::status(d.target()).failed.empty());
    CHECK(d.litter().empty());
  }
}

TEST_CASE("a caller who asks to stop the hook of a first install is told that there is nothing to go back to") {
  device d;
  const fs::path slow = vendor::of_all_tests().package("app", {{".post-install!", "#!/bin/sh\nexec sleep 1000\n"}});
  std::stop_source stop;
  install::options how = d.how();
  how.stop = stop.get_token();
  how.progress = [&](const progress& p) {
    if (p.at == phase::post_install) stop.request_stop();
  };
  const fussy::error e = failure_of([&] { install::install(slow, how); });
  CHECK(e.code() == errc::unrecoverable);
  CHECK(e.cause() == errc::cancelled);
  CHECK(d.current() == "app");
  CHECK(d.litter().empty());
}

TEST_CASE("a time limit of the caller's thread that ends a hook does not end those of the way back") {
  device d;
  const fs::path patient = vendor::of_all_tests().package(
      "app-1", {{".pre-install!",
                 "#!/bin/sh\n[ \"$2\" = False ] || { sleep 0.4; echo back >> \"$FUSSY_TARGET/../notes\"; }\n"}});
  d.install(patient);
  const fs::path hangs = vendor::of_all_tests().package("app-2", {{".post-install!", "#!/bin/sh\nexec sleep 1000\n"}});
  const fussy::deadline_scope limit(fussy::deadline_after(std::chrono::milliseconds(700)));
  const fussy::error e = failure_of([&] { d.install(hangs); });
  CHECK(e.code() == errc::reverted);
  CHECK(e.cause() == errc::timeout);
  CHECK(d.current() == "app-1");
  CHECK(notes(d) == "back\n");
  CHECK(fussy::current_deadline() != fussy::no_deadline);
}

TEST_CASE("a cancelled version that failsafe leads to by now stays: a hook may have promoted it") {
  device d;
  d.install(good("1"));
  const fs::path promotes = vendor::of_all_tests().package(
      "app-2", {{".post-install!", "#!/bin/sh\nln -sfn app-2 \"$FUSSY_TARGET/failsafe\"\nexec sleep 1000\n"}});
  std::stop_source stop;
  install::options how = d.how();
  how.stop = stop.get_token();
  const std::jthread later([&] {
    while (!fs::is_symlink(d.target() / "failsafe")) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  CHECK(failure_of([&] { install::install(promotes, how); }).code() == errc::cancelled);
  CHECK(d.current() == "app-1");
  CHECK(d.has("failsafe/.post-install"));
  CHECK(d.litter().empty());
}

TEST_CASE("the error of a version that failed names it, and what is live instead") {
  device d;
  d.install(good("1"));
  const fussy::error e = failure_of([&] { d.install(failing("2", 0, 1)); });
  CHECK(e.code() == errc::reverted);
  CHECK(e.parts().version == "app-2");
  CHECK(e.parts().live == "app-1");
}

TEST_CASE("a progress sink that throws cancels the install, nothing is left") {
  device d;
  d.install(good("1"));
  const std::string before = snapshot(d.target());
  for (const phase at : {phase::verifying, phase::unpacking, phase::syncing, phase::publishing}) {
    install::options how = d.how();
    how.progress = [&](const progress& p) {
      if (p.at == at) throw std::runtime_error("no more");
    };
    CHECK_THROWS_AS(install::install(good("2"), how), std::runtime_error);
    CHECK(snapshot(d.target()) == before);
    CHECK(d.litter().empty());
  }
}

TEST_CASE("progress is monotone and ends with done") {
  device d;
  install::options how = d.how();
  std::vector<progress> seen;
  how.progress = [&](const progress& p) { seen.push_back(p); };
  install::install(good("1"), how);
  REQUIRE_FALSE(seen.empty());
  CHECK(seen.back().at == phase::done);
  std::map<phase, std::uint64_t> last;
  phase at = phase::waiting;
  for (const progress& p : seen) {
    CHECK(p.at >= at);
    at = p.at;
    CHECK(p.done >= last[p.at]);
    last[p.at] = p.done;
  }
  CHECK(last[phase::verifying] == fs::file_size(good("1")));
  CHECK(last[phase::unpacking] == fs::file_size(good("1")));
}

TEST_SUITE_END();
