/// @file tar_reader.hpp  Entries of an uncompressed tar (ustar, pax, GNU), parsed by libarchive with nothing else
/// enabled.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <fussy/io.hpp>

#include <cerrno>
#include <exception>
#include <memory>
#include <new>

namespace fussy::archive {

class tar_reader {
public:
  explicit tar_reader(any_reader tar);
  tar_reader(const tar_reader&) = delete;
  tar_reader& operator=(const tar_reader&) = delete;

  /// The next entry, valid until the next call; null at the end. What is left of the last entry's content is passed
  /// over.
  /// @throws malformed, too_large (one header beyond a MiB), std::bad_alloc, and what the reader throws.
  archive_entry* next();

  struct block {
    std::uint64_t offset = 0;  ///< in the file; between blocks there are holes
    byte_view bytes;           ///< valid until the next call
  };
  /// The next piece of the entry's content. @return false at its end.
  bool next_block(block& piece);

  /// Reads to the end of the stream, so that checksums and proofs are complete. Call it after the last entry.
  /// @throws malformed  something else than zeros follows the archive.
  void finish();

private:
  static la_ssize_t give_block(struct ::archive*, void* self, const void** data);
  void check(int status);
  std::size_t refill();

  struct free_archive {
    void operator()(struct ::archive* a) const noexcept { archive_read_free(a); }
  };
  struct free_entry {
    void operator()(archive_entry* e) const noexcept { archive_entry_free(e); }
  };
  // A name in a pax header is UTF-8; libarchive converts it to the locale of the thread, so give it one that leaves it
  // alone, whatever the program has set.
  class utf8_locale {
  public:
    utf8_locale() : mine_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
      if (!mine_ && errno == ENOMEM) throw std::bad_alloc();
    }
    ~utf8_locale() {
      if (mine_) freelocale(mine_);
    }
    utf8_locale(const utf8_locale&) = delete;
    utf8_locale& operator=(const utf8_locale&) = delete;
    locale_t get() const noexcept { return mine_; }

  private:
    locale_t mine_;
  };

  any_reader tar_;
  std::unique_ptr<std::byte[]> buffer_;
  utf8_locale locale_;
  std::unique_ptr<struct ::archive, free_archive> archive_;
  std::unique_ptr<archive_entry, free_entry> entry_;
  std::uint64_t supplied_ = 0;      // octets given to libarchive
  std::uint64_t header_start_ = 0;  // supplied_ when it began to look for a header
  std::size_t last_size_ = 0;       // of the block it was given last
  bool in_header_ = false, entered_ = false;
  std::exception_ptr problem_;  // what must not cross libarchive's C frames
};

}  // namespace fussy::archive
