// A place to unpack into, with something beside it that must never change.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fussy/archive.hpp>
#include <fussy/codec.hpp>
#include <support/child.hpp>
#include <support/tar_builder.hpp>
#include <support/temporary_directory.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace test {

namespace fs = std::filesystem;

inline std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
inline void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}
inline struct stat status_of(const fs::path& path) {
  struct stat st = {};
  if (lstat(path.c_str(), &st) != 0) throw fussy::system_error("cannot look at", errno, path.string());
  return st;
}

inline std::string gzip(std::string_view data, int level = 1) {
  fussy::byte_vector out;
  fussy::codec::compressor c(fussy::vector_writer{out}, fussy::codec::format::gzip, level);
  c.write(fussy::as_bytes(data));
  c.finish();
  return std::string(fussy::as_text(out));
}

/// Each path below a directory with all that makes it what it is; directories without size.
inline std::vector<std::string> listing(const fs::path& top, bool with_times = true) {
  std::vector<std::string> lines;
  for (const auto& e : fs::recursive_directory_iterator(top)) {
    const struct stat st = status_of(e.path());
    std::ostringstream line;
    line << e.path().lexically_relative(top).native() << ' ' << std::oct << st.st_mode << std::dec << ' ' << st.st_uid
         << ':' << st.st_gid;
    if (with_times) line << ' ' << st.st_mtim.tv_sec << '.' << st.st_mtim.tv_nsec;
    if (S_ISREG(st.st_mode)) line << ' ' << st.st_nlink << ' ' << std::hash<std::string>()(content_of(e.path()));
    if (S_ISLNK(st.st_mode)) line << " -> " << fs::read_symlink(e.path()).native();
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

class workplace {
public:
  workplace() : workplace(fs::path()) {}
  /// @param below  an existing directory instead of a fresh one: a mounted file system.
  explicit workplace(const fs::path& below) : top_(below.empty() ? temporary_.path() : below) {
    put(top_ / "outside/sentinel", "never touched");
    fs::create_directory(top_ / "into");
    outside_before_ = listing(top_ / "outside");
  }

  fs::path top() const { return top_; }
  fs::path into() const { return top_ / "into"; }
  fs::path outside() const { return top_ / "outside"; }

  fussy::archive::extracted unpack(std::string_view tar, const fussy::archive::extract_options& opts = {}) const {
    return unpack_to(into(), tar, opts);
  }
  static fussy::archive::extracted unpack_to(const fs::path& dir, std::string_view tar,
                                             const fussy::archive::extract_options& opts = {}) {
    const std::string data = gzip(tar);
    fs::create_directories(dir);
    // Whoever only looks must come to the same verdict: every archive of these tests is looked at, too.
    fussy::archive::surveyed seen;
    const fussy::errc verdict = code_of([&] {
      seen = fussy::archive::survey(fussy::memory_reader{data}, {.limit = opts.limit, .share_with = opts.share_with});
    });
    try {
      auto done =
          fussy::archive::extract(fussy::memory_reader{data}, fussy::open_file(dir, O_RDONLY | O_DIRECTORY), opts);
      CHECK(verdict == fussy::errc::success);
      CHECK(seen.root == done.root);
      CHECK(seen.entries == done.entries);
      CHECK(seen.files == done.files);
      CHECK(seen.bytes == done.bytes);
      return done;
    } catch (const fussy::error& e) {
      // What only a disk refuses is not seen beforehand; nor is how much memory for directories unpacking has.
      if (exit_status(e.code()) == 21 && e.code() != fussy::errc::too_large) CHECK(verdict == e.code());
      throw;
    }
  }
  /// The code a refusal has; success when it was unpacked.
  fussy::errc refusal(std::string_view tar, const fussy::archive::extract_options& opts = {}) const {
    return code_of([&] { unpack(tar, opts); });
  }
  fussy::errc refusal(const tar_builder& tar, const fussy::archive::extract_options& opts = {}) const {
    return refusal(tar.bytes(), opts);
  }
  bool outside_unchanged() const { return listing(top_ / "outside") == outside_before_; }

private:
  temporary_directory temporary_;
  fs::path top_;
  std::vector<std::string> outside_before_;
};

inline bool is_root() { return geteuid() == 0; }

/// Runs the function in a process of user and group 65534. @return its status; 0 is good.
inline int as_nobody(const fs::path& workplace, const std::function<int()>& run) {
  constexpr unsigned nobody = 65534;
  for (const auto& e : fs::recursive_directory_iterator(workplace))
    if (lchown(e.path().c_str(), nobody, nobody) != 0) return -1;
  if (chown(workplace.c_str(), nobody, nobody) != 0) return -1;
  child c([&](int) {
    if (setgroups(0, nullptr) != 0 || setgid(nobody) != 0 || setuid(nobody) != 0) return 98;
    return run();
  });
  return c.wait();
}

/// Reads what a function gives, so that nothing large needs to be in memory.
struct generated {
  std::function<std::string()> next;  // an empty string is the end
  std::string have = {};
  std::size_t read(fussy::byte_span room) {
    if (have.empty()) have = next();
    const std::size_t n = std::min(room.size(), have.size());
    std::copy_n(fussy::as_bytes(have).begin(), n, room.begin());
    have.erase(0, n);
    return n;
  }
};

}  // namespace test
