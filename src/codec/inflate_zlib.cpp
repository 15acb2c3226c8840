// The inflate engine of zlib: everywhere.
#include "inflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <new>

namespace fussy::codec {

struct inflater::engine {
  engine() {
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~engine() { inflateEnd(&z); }
  z_stream z = {};
};

inflater::inflater() : engine_(std::make_unique<engine>()) {}
inflater::~inflater() = default;
inflater::inflater(inflater&&) noexcept = default;
inflater& inflater::operator=(inflater&&) noexcept = default;

void inflater::reset() { inflateReset(&engine_->z); }

inflater::step inflater::run(byte_view in, byte_span out) {
  constexpr std::size_t most = 1U << 30;  // uInt counts
  z_stream& z = engine_->z;
  const uInt have = static_cast<uInt>(std::min(in.size(), most));
  const uInt room = static_cast<uInt>(std::min(out.size(), most));
  z.next_in = const_cast<Bytef*>(as_uint8(in));
  z.avail_in = have;
  z.next_out = as_uint8(out);
  z.avail_out = room;
  const int status = inflate(&z, Z_NO_FLUSH);
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  return {.taken = have - z.avail_in,
          .made = room - z.avail_out,
          .end = status == Z_STREAM_END,
          .damaged = status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR};
}

byte_view inflater::unused() const noexcept { return {}; }

std::uint32_t crc32(std::uint32_t sum, byte_view bytes) noexcept {
  return static_cast<std::uint32_t>(::crc32_z(sum, as_uint8(bytes), bytes.size()));
}
std::uint32_t adler32(std::uint32_t sum, byte_view bytes) noexcept {
  return static_cast<std::uint32_t>(::adler32_z(sum, as_uint8(bytes), bytes.size()));
}
const char* inflate_engine() noexcept { return "zlib"; }

}  // namespace fussy::codec
