// Archives into a directory. What is looked at beside crashes: nothing beside the directory changes, and the same
// octets end in the same way whatever the size of reads.
#include <fcntl.h>
#include <sys/stat.h>
#include <fussy/archive.hpp>
#include <fussy/codec.hpp>

#include <support/temporary_directory.hpp>

#include "fuzz.hpp"

using namespace fussy;

namespace {

struct slow_reader {
  memory_reader inner;
  std::size_t read(byte_span room) { return inner.read(room.first(std::min<std::size_t>(room.size(), 7))); }
};

// The input is an uncompressed tar, so that a fuzzer sees what it changes.
byte_vector compressed(byte_view tar) {
  byte_vector out;
  codec::compressor c(vector_writer{out}, codec::format::zstd, 1);
  c.write(tar);
  c.finish();
  return out;
}

class place {
public:
  place() {
    std::filesystem::create_directory(top_ / "into");
    std::filesystem::create_directory(top_ / "beside");
    unique_fd(::open((top_ / "beside/sentinel").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ::stat((top_ / "beside").c_str(), &before_);
    ::stat((top_ / "beside/sentinel").c_str(), &sentinel_before_);
  }

  errc unpack(any_reader packed) {
    const archive::extract_options opts{.limit = {.max_entries = 1000, .max_bytes = 1 << 24}};
    try {
      const auto done = archive::extract(std::move(packed), open_file(top_ / "into", O_RDONLY | O_DIRECTORY), opts);
      fuzz::require(std::filesystem::is_directory(std::filesystem::symlink_status(top_ / "into" / done.root)),
                    "there is no root");
      return errc::success;
    } catch (const error& e) {
      fuzz::require(exit_status(e.code()) == 21, e.what());
      fuzz::require(!e.parts().what.empty() && !e.parts().why.empty() && !e.parts().remedy.empty(), e.what());
      return e.code();
    }
  }

  void require_untouched() const {
    const auto same = [&](const char* name, const struct stat& then) {
      struct stat now = {};
      return ::lstat((top_ / name).c_str(), &now) == 0 && now.st_ino == then.st_ino && now.st_nlink == then.st_nlink &&
             now.st_mode == then.st_mode && now.st_size == then.st_size && now.st_mtim.tv_sec == then.st_mtim.tv_sec &&
             now.st_mtim.tv_nsec == then.st_mtim.tv_nsec;
    };
    fuzz::require(same("beside", before_) && same("beside/sentinel", sentinel_before_),
                  "something outside has changed");
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(top_.path())) ++entries;
    fuzz::require(entries == 2, "something was made outside");
  }

private:
  test::temporary_directory top_;
  struct stat before_ = {}, sentinel_before_ = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const byte_vector packed = compressed(as_bytes(data, size));
  place first, second;
  const errc code = first.unpack(memory_reader(byte_view(packed)));
  first.require_untouched();
  fuzz::require(code == second.unpack(slow_reader{memory_reader(byte_view(packed))}),
                "the code depends on the size of reads");
  second.require_untouched();
  return 0;
}
