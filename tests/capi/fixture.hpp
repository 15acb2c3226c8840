// A vendor with a key made by gpg, packages signed by gpg, targets to install them into, and what callbacks are given.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fussy.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/temporary_directory.hpp"

namespace test {

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void shell(const std::string& command) {
  if (std::system(("exec 2>/dev/null; set -e; " + command).c_str()) != 0)
    throw std::runtime_error("failed: " + command);
}

/// What a directory holds, in order, a line for each.
inline std::string names_in(const std::filesystem::path& directory, const std::string& but = "") {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename() != but) names.insert(entry.path().filename().string());
  std::string all;
  for (const std::string& name : names) all += name + "\n";
  return all;
}

class vendor {
public:
  explicit vendor(const std::string& passphrase = "", const std::string& algorithm = "ed25519",
                  const std::string& options = "") {
    shell("mkdir -m 700 " + home() + "; mkdir " + keys() + "; " + gpg() + options +
          " --pinentry-mode loopback --passphrase '" + passphrase + "' --quick-gen-key 'Vendor <vendor@example.org>' " +
          algorithm + " sign never; " + gpg() + "--export > " + keys() + "/vendor.gpg");
  }
  ~vendor() { (void)!std::system(("gpgconf --homedir " + home() + " --kill all").c_str()); }

  std::string home() const { return (directory_ / "gnupg").string(); }
  std::string keys() const { return (directory_ / "keys").string(); }
  std::string at(const std::string& name) const { return (directory_ / name).string(); }
  std::string gpg() const { return "gpg --homedir " + home() + " --batch --quiet "; }

  /// A package with a file `app` that says `name`, something big, and a hook, which is a shell script.
  std::string package(const std::string& name, const std::string& post_install = "", unsigned kilobytes = 8) const {
    const std::string root = at(name), file = root + ".tar.gz.gpg";
    if (std::filesystem::exists(file)) return file;
    std::filesystem::create_directory(root);
    std::ofstream(root + "/app") << name << '\n';
    std::ofstream(root + "/data") << std::string(kilobytes * 1024, 'x');
    if (!post_install.empty()) {
      std::ofstream(root + "/.post-install") << "#!/bin/sh\n" << post_install << '\n';
      std::filesystem::permissions(root + "/.post-install", std::filesystem::perms(0755));
    }
    shell("touch -d @1700000000 " + root + "/data");
    return sign(name);
  }

  /// Packs and signs the directory of that name.
  std::string sign(const std::string& name) const {
    const std::string root = at(name), file = root + ".tar.gz.gpg";
    shell("tar -C " + directory_.path().string() + " -czf " + root + ".tar.gz " + name + "; " + gpg() + "-o " + file +
          " --sign " + root + ".tar.gz");
    return file;
  }

  /// The package of that name, encrypted for a subkey that this vendor gets now.
  std::string encrypted(const std::string& name, const std::string& options = "") const {
    const std::string file = at(name + ".secret");
    package(name);
    shell(gpg() + "--passphrase '' --quick-add-key $(" + gpg() +
          "--list-keys --with-colons | awk -F: '/^fpr/{print $10;exit}') cv25519 encr never; " + gpg() + options +
          " --trust-model always -r vendor@example.org -o " + file + " -se " + at(name + ".tar.gz"));
    return file;
  }

private:
  temporary_directory directory_;
};

/// Made once in a run: keys are not free.
inline const vendor& the_vendor() {
  static const vendor made;
  return made;
}

/// A target, and a session that installs into it.
class device {
public:
  device() {
    if (fussy_session_new(&session_) != FUSSY_OK) throw std::runtime_error("no session");
    fussy_session_set_keyring(session_, the_vendor().keys().c_str());
    fussy_session_set_target(session_, target().c_str());
  }
  device(const device&) = delete;
  device& operator=(const device&) = delete;
  ~device() { fussy_session_free(session_); }

  operator fussy_session*() const { return session_; }  // NOLINT: it stands for its session
  fussy_session* get() const { return session_; }
  std::string target() const { return directory_.path().string(); }
  std::string current() const {
    std::error_code none;
    return std::filesystem::read_symlink(directory_ / "current", none).string();
  }
  int32_t install(const std::string& package) {
    fussy_session_set_package_path(session_, package.c_str());
    return fussy_session_install(session_);
  }
  fussy_report report() const {
    fussy_report r = FUSSY_REPORT_INIT;
    fussy_session_report(session_, &r);
    return r;
  }
  /// Everything there is in the target, octet for octet, with what the disk knows about it.
  std::string image() const {
    std::set<std::string> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path())) {
      struct stat st {};
      if (::lstat(entry.path().c_str(), &st) != 0) throw std::runtime_error("cannot look at " + entry.path().string());
      std::string line = entry.path().string();
      for (const auto number :
           {static_cast<long>(st.st_mode), static_cast<long>(st.st_ino), static_cast<long>(st.st_nlink),
            static_cast<long>(st.st_size), static_cast<long>(st.st_mtim.tv_sec), static_cast<long>(st.st_mtim.tv_nsec),
            static_cast<long>(st.st_ctim.tv_nsec)})
        line += " " + std::to_string(number);
      if (S_ISREG(st.st_mode)) line += " " + slurp(entry.path());
      if (S_ISLNK(st.st_mode)) line += " " + std::filesystem::read_symlink(entry.path()).string();
      all.insert(line);
    }
    std::string text;
    for (const std::string& line : all) text += line + "\n";
    return text;
  }
  /// Everything that is not private to the library, by name.
  std::string listing() const { return names_in(directory_.path(), ".fussy"); }
  bool has_litter() const {
    const auto staging = directory_ / ".fussy" / "staging";
    return std::filesystem::exists(staging) && !std::filesystem::is_empty(staging);
  }

private:
  temporary_directory directory_;
  fussy_session* session_ = nullptr;
};

/// Keeps what a progress callback is told, and cancels in a phase.
struct steps {
  std::vector<fussy_progress> seen;
  int32_t cancel_at = -1;
  static int32_t take(void* user, const fussy_progress* news) {
    auto& self = *static_cast<steps*>(user);
    self.seen.push_back(*news);
    return news->phase == self.cancel_at ? 1 : 0;
  }
};

/// A package that a read callback brings in pieces; what the callback returns at its end is `failure`.
struct source {
  std::string bytes;
  std::size_t at = 0, piece = 1000;
  int64_t failure = 0;
  static int64_t read(void* user, void* buffer, uint64_t size) {
    auto& self = *static_cast<source*>(user);
    const std::size_t n = std::min({self.bytes.size() - self.at, static_cast<std::size_t>(size), self.piece});
    if (n == 0) return self.failure;
    std::memcpy(buffer, self.bytes.data() + self.at, n);
    self.at += n;
    return static_cast<int64_t>(n);
  }
};

/// Somebody else, who holds the target of a device: an install whose package does not come.
class occupant {
public:
  explicit occupant(const device& of) {
    REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0);
    fussy_session_set_target(session_, of.target().c_str());
    fussy_session_set_package_fd(session_, ends_[0]);
    thread_ = std::thread([this] { (void)fussy_session_install(session_); });
    for (fussy_target seen = FUSSY_TARGET_INIT; seen.busy == 0;) REQUIRE(fussy_session_status(of, &seen) == FUSSY_OK);
  }
  occupant(const occupant&) = delete;
  occupant& operator=(const occupant&) = delete;
  ~occupant() {
    if (thread_.joinable()) leave();
    ::close(ends_[0]);
  }
  void leave() {
    ::close(ends_[1]);
    thread_.join();
  }

private:
  device session_;
  int ends_[2] = {-1, -1};
  std::thread thread_;
};

}  // namespace test
