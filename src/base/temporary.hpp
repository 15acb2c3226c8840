/// @file temporary.hpp  A fresh private directory that is gone unless it is kept.
#pragma once

#include <sys/stat.h>
#include <fussy/error.hpp>

#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>

namespace fussy::base {

/// Makes TMP/fussy-XXXXXX-SUFFIX with mode 0700 below $TMPDIR or /tmp, and removes it with all it holds in the end.
class temporary_directory {
public:
  explicit temporary_directory(std::string_view suffix) {
    std::error_code ec;
    const std::filesystem::path parent = std::filesystem::temp_directory_path(ec);
    if (ec)
      throw system_error("cannot use the temporary directory", ec.value(), {},
                         "set TMPDIR to a directory you may write");
    std::random_device random;
    // mkdir refuses a name that is taken, by a link as well, so a guessed name gives an attacker nothing.
    for (int tries = 0; tries < 100; ++tries) {
      char word[7];
      std::snprintf(word, sizeof word, "%06x", static_cast<unsigned>(random()) & 0xffffffU);
      path_ = parent / (std::string("fussy-") + word + "-" + std::string(suffix));
      if (::mkdir(path_.c_str(), 0700) == 0) return;
      if (errno != EEXIST)
        throw system_error("cannot create", errno, path_.string(), "set TMPDIR to a directory you may write");
    }
    throw system_error("cannot create", EEXIST, path_.string(), "remove old fussy-* directories there");
  }
  temporary_directory(const temporary_directory&) = delete;
  ~temporary_directory() {
    if (kept_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const noexcept { return path_; }
  void keep() noexcept { kept_ = true; }

private:
  std::filesystem::path path_;
  bool kept_ = false;
};

}  // namespace fussy::base
