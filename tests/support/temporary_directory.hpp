// A fresh directory that goes away with the object, whatever is in it.
#pragma once

#include <fussy/error.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace test {

class temporary_directory {
public:
  temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "fussy-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw fussy::system_error("cannot create temporary directory", errno, name);
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

}  // namespace test
