// Zstandard frames (RFC 8878), skippable ones included.
#include <zstd.h>
#include <zstd_errors.h>

#include <new>
#include <utility>

#include "decompress.hpp"

namespace fussy::codec {

namespace {

// A window is memory that the file asks for: 8 MiB is what every decoder must support (RFC 8878, 3.1.1.1.2).
constexpr int window_log_max = 23;

bool is_frame(byte_view head) noexcept {
  if (head.size() < 4) return false;
  const std::uint8_t* h = as_uint8(head);
  const bool skippable = h[0] >> 4 == 5 && h[1] == 0x2a && h[2] == 0x4d && h[3] == 0x18;
  return sniff(head) == format::zstd || skippable;
}

class zstd_reader {
public:
  zstd_reader(input in, trailing t) : in_(std::move(in)), context_(ZSTD_createDCtx()), trailing_(t) {
    if (!context_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, window_log_max);
  }

  std::size_t read(byte_span room) {
    while (!ended_) {
      if (!in_frame_) begin_frame();
      if (!ended_)
        if (const std::size_t n = decompress_into(room)) return n;
    }
    return 0;
  }

private:
  struct free_context {
    void operator()(ZSTD_DCtx* c) const noexcept { ZSTD_freeDCtx(c); }
  };

  void begin_frame() {
    if (std::exchange(begun_, true)) {
      ended_ = !another_follows(in_, trailing_, "zstd", is_frame);
      in_frame_ = !ended_;
      return;
    }
    const input::head head = in_.look(4);
    if (head.size < 4) ends_too_early("zstd");
    if (!is_frame(head)) damaged("zstd", "it has no zstd header");  // the library would take formats of before RFC 8878
    in_frame_ = true;
  }

  std::size_t decompress_into(byte_span room) {
    const byte_view have = in_.peek();
    ZSTD_inBuffer in{have.data(), have.size(), 0};
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const std::size_t status = ZSTD_decompressStream(context_.get(), &out, &in);
    in_.consume(in.pos);
    if (ZSTD_isError(status)) refuse(ZSTD_getErrorCode(status));
    in_frame_ = status != 0;
    if (in_frame_ && out.pos == 0 && in.pos == 0)
      have.empty() ? ends_too_early("zstd") : damaged("zstd", "the data is damaged");
    return out.pos;
  }

  [[noreturn]] static void refuse(ZSTD_ErrorCode code) {
    switch (code) {
      case ZSTD_error_memory_allocation:
        throw std::bad_alloc();
      case ZSTD_error_frameParameter_windowTooLarge:
        throw error(errc::malformed, failure_parts{.what = "cannot decompress zstd data",
                                                   .why = "it needs a window of more than 8 MiB",
                                                   .remedy = "compress it without --long and --ultra"});
      case ZSTD_error_checksum_wrong:
        damaged("zstd", "its checksum is wrong");
      case ZSTD_error_dictionary_wrong:
        damaged("zstd", "it needs a dictionary");
      default:
        damaged("zstd", "the data is damaged");
    }
  }

  input in_;
  std::unique_ptr<ZSTD_DCtx, free_context> context_;
  trailing trailing_;
  bool begun_ = false, in_frame_ = false, ended_ = false;
};

}  // namespace

any_reader zstd_from(input in, trailing t) { return zstd_reader(std::move(in), t); }

}  // namespace fussy::codec
