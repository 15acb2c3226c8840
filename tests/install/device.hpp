// A vendor with a GnuPG key and a device with a target directory: what the tests of installing share.
#pragma once

#include <sys/stat.h>
#include <unistd.h>
#include <fussy/install.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/program.hpp"
#include "support/temporary_directory.hpp"

namespace test {

namespace fs = std::filesystem;
using namespace fussy;

inline std::string content_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const fs::path& path, std::string_view content, bool executable = false) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  fs::permissions(path, fs::perms(executable ? 0755 : 0644));
}

/// Everything below a directory that a reader can see: names, types, modes, owners, times, links and contents. `.fussy`
/// is left out, it is ours.
inline std::string snapshot(const fs::path& directory) {
  std::map<std::string, std::string> entries;
  for (auto it = fs::recursive_directory_iterator(directory); it != fs::end(it); ++it) {
    if (it->path().filename() == ".fussy" && it.depth() == 0) {
      it.disable_recursion_pending();
      continue;
    }
    struct stat st {};
    if (::lstat(it->path().c_str(), &st) != 0) continue;
    std::ostringstream line;
    line << std::oct << st.st_mode << std::dec << ' ' << st.st_uid << ' ' << st.st_ino << ' ' << st.st_size << ' '
         << st.st_mtim.tv_sec << '.' << st.st_mtim.tv_nsec << ' ';
    if (S_ISLNK(st.st_mode)) line << fs::read_symlink(it->path()).string();
    if (S_ISREG(st.st_mode)) line << content_of_file(it->path());
    entries[fs::relative(it->path(), directory).string()] = line.str();
  }
  std::string all;
  for (const auto& [name, text] : entries) all += name + " " + text + "\n";
  return all;
}

/// Files of a version: a name that ends with ! is executable, content "-> TEXT" is a link.
using files = std::map<std::string, std::string>;

inline void make_tree(const fs::path& root, const files& content) {
  fs::create_directories(root);
  for (const auto& [name, text] : content) {
    const bool executable = name.ends_with('!');
    const fs::path path = root / (executable ? name.substr(0, name.size() - 1) : name);
    if (text.starts_with("-> ")) {
      fs::create_directories(path.parent_path());
      fs::create_symlink(text.substr(3), path);
    } else {
      write_file(path, text, executable);
    }
  }
}

inline const std::string same_time = "--mtime=@1700000000";

class vendor {
public:
  vendor() {
    fs::create_directory(home());
    fs::permissions(home(), fs::perms(0700));
    gpg({"--quick-generate-key", "Vendor <vendor@example.com>", "ed25519", "sign", "never"});
    fs::create_directory(keys());
    write_file(keys() / "vendor.asc", gpg({"--armor", "--export"}));
  }
  ~vendor() { run({"gpgconf", "--homedir", home().string(), "--kill", "all"}); }
  static vendor& of_all_tests() {
    static vendor v;
    return v;
  }

  fs::path keys() const { return directory_.path() / "keys"; }

  /// A signed package of a tree with these files below one directory.
  fs::path package(const std::string& root, const files& content) {
    temporary_directory work;
    make_tree(work.path() / root, content);
    return sign(output_of({"tar", "-C", work.path().string(), same_time, "-czf", "-", root}), root.substr(0, 200));
  }
  /// A signed package of anything.
  fs::path sign(const std::string& archive, const std::string& name = "package") {
    const fs::path path = directory_.path() / (name + "-" + std::to_string(++count_) + ".tar.gz.gpg");
    write_file(path, gpg({"--sign", "-z", "0"}, archive));
    return path;
  }
  std::string gpg(std::vector<std::string> arguments, const std::string& input = {}) const {
    arguments.insert(arguments.begin(), {"gpg", "--homedir", home().string(), "--batch", "--quiet", "--no-tty",
                                         "--pinentry-mode", "loopback", "--passphrase", ""});
    return output_of(arguments, input);
  }
  fs::path directory() const { return directory_.path(); }

private:
  fs::path home() const { return directory_.path() / "gnupg"; }
  temporary_directory directory_;
  int count_ = 0;
};

class device {
public:
  device() { fs::create_directory(target()); }

  fs::path target() const { return directory_.path() / "target"; }
  fs::path directory() const { return directory_.path(); }

  install::options how() {
    return {.keyring = vendor::of_all_tests().keys(),
            .target = target(),
            .log = [this](log_level level, std::string_view line) {
              log += std::string(name(level)) + " " + std::string(line) + "\n";
            }};
  }
  install::report install(const fs::path& package) { return fussy::install::install(package, how()); }
  /// Text of the link, "" where there is none.
  std::string current() const {
    std::error_code none;
    return fs::read_symlink(target() / "current", none).string();
  }
  std::string read(const fs::path& relative) const { return content_of_file(target() / relative); }
  bool has(const fs::path& relative) const { return fs::exists(fs::symlink_status(target() / relative)); }

  /// What is in `.fussy/` beside the lock and empty staging: nothing, when all is at rest.
  std::string litter() const {
    std::string found;
    if (!has(".fussy")) return found;
    for (const auto& entry : fs::directory_iterator(target() / ".fussy")) {
      const std::string name = entry.path().filename().string();
      if (name == "lock" || name == "previous" || name == "failed" || (name == "staging" && fs::is_empty(entry.path()))) continue;
      found += name + " ";
    }
    return found;
  }

  std::string log;

private:
  temporary_directory directory_;
};

/// A hook that notes in FUSSY_TARGET/../notes that it ran, and ends with a status.
inline std::string noting_hook(int status = 0) {
  return "#!/bin/sh\necho \"${0##*/} ${1##*/} $2\" >> \"$FUSSY_TARGET/../notes\"\necho \"words of ${0##*/}\"\nexit " +
         std::to_string(status) + "\n";
}

inline files version_files(const std::string& label, int pre = 0, int post = 0) {
  return {{"app", "program " + label},
          {"lib/data", "data that never changes"},
          {".pre-install!", noting_hook(pre)},
          {".post-install!", noting_hook(post)}};
}

}  // namespace test
