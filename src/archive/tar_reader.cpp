#include "tar_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace fussy::archive {

namespace {

constexpr std::size_t block_size = 256 * 1024;
// Long names, attributes and maps of sparse files are kept in memory by libarchive: an entry may not ask for more.
constexpr std::uint64_t header_max = 1024 * 1024;

// The locale of this thread, for the length of a call.
class locale_scope {
public:
  explicit locale_scope(locale_t l) noexcept : before_(l ? uselocale(l) : nullptr) {}
  ~locale_scope() {
    if (before_) uselocale(before_);
  }
  locale_scope(const locale_scope&) = delete;
  locale_scope& operator=(const locale_scope&) = delete;

private:
  locale_t before_;
};

[[noreturn]] void malformed(std::string why) {
  throw error(
      errc::malformed,
      failure_parts{.what = "cannot read the tar archive", .why = std::move(why), .remedy = "build or fetch it again"});
}

// libarchive ends the process where it cannot get a few octets for a name: what it will need must be there before it is
// called.
void ensure_memory() {
  constexpr std::size_t plenty = 64 * 1024;
  void* const probe = std::malloc(plenty);
  if (!probe) throw std::bad_alloc();
  asm volatile("" : : "r"(probe) : "memory");  // or the compiler leaves the pair out
  std::free(probe);
}

bool all_zero(byte_view bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

tar_reader::tar_reader(any_reader tar)
    : tar_(std::move(tar)),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(block_size)),
      archive_(archive_read_new()),
      entry_(archive_entry_new()) {
  if (!archive_ || !entry_) throw std::bad_alloc();
  check(archive_read_support_format_tar(archive_.get()));
  in_header_ = true;
  // Step by step: archive_read_open() goes on when memory runs out in the middle, and crashes.
  check(archive_read_set_read_callback(archive_.get(), give_block));
  check(archive_read_set_callback_data(archive_.get(), this));
  const int status = archive_read_open1(archive_.get());
  if (status == ARCHIVE_FATAL && !problem_ && !archive_error_string(archive_.get())) throw std::bad_alloc();
  check(status);
}

archive_entry* tar_reader::next() {
  if (std::exchange(entered_, true)) check(archive_read_data_skip(archive_.get()));
  ensure_memory();
  in_header_ = true;
  header_start_ = supplied_;
  int status = ARCHIVE_OK;
  {
    const locale_scope utf8(locale_.get());
    status = archive_read_next_header2(archive_.get(), entry_.get());
  }
  in_header_ = false;
  if (status == ARCHIVE_EOF) return nullptr;
  check(status);
  if (!archive_entry_pathname(entry_.get())) malformed("the name of an entry is not UTF-8");
  return entry_.get();
}

bool tar_reader::next_block(block& piece) {
  const void* data = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  const int status = archive_read_data_block(archive_.get(), &data, &size, &offset);
  if (status == ARCHIVE_EOF) return false;
  check(status);
  if (offset < 0) malformed("an entry has content before its beginning");
  piece = {static_cast<std::uint64_t>(offset), {static_cast<const std::byte*>(data), size}};
  return true;
}

void tar_reader::finish() {
  const auto used = static_cast<std::uint64_t>(archive_filter_bytes(archive_.get(), -1));
  const std::uint64_t left = std::min<std::uint64_t>(supplied_ - std::min(used, supplied_), last_size_);
  bool clean = all_zero({buffer_.get() + (last_size_ - left), static_cast<std::size_t>(left)});
  while (const std::size_t n = tar_.read({buffer_.get(), block_size})) clean = clean && all_zero({buffer_.get(), n});
  if (!clean) malformed("something follows its end");
}

la_ssize_t tar_reader::give_block(struct ::archive*, void* self, const void** data) {
  auto& me = *static_cast<tar_reader*>(self);
  try {
    *data = me.buffer_.get();
    return static_cast<la_ssize_t>(me.refill());
  } catch (...) {
    me.problem_ = std::current_exception();
    return -1;
  }
}

std::size_t tar_reader::refill() {
  if (in_header_ && supplied_ - header_start_ > header_max)
    throw error(errc::too_large, failure_parts{.what = "cannot read the tar archive",
                                               .why = "the header of an entry is larger than 1 MiB",
                                               .remedy = "build it with fewer extended attributes or holes"});
  last_size_ = tar_.read({buffer_.get(), block_size});
  supplied_ += last_size_;
  return last_size_;
}

void tar_reader::check(int status) {
  if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
  if (status == ARCHIVE_OK) return;
  const char* text = archive_error_string(archive_.get());
  if (archive_errno(archive_.get()) == ENOMEM) throw std::bad_alloc();
  const std::string_view why = text ? text : "it is damaged";
  // Names of users and groups are not used; anything else that it warns about would be something lost.
  const bool harmless = status == ARCHIVE_WARN && (why.starts_with("Uname") || why.starts_with("Gname"));
  if (!harmless) malformed(std::string(why));
}

}  // namespace fussy::archive
