// Compressed octets: the first one picks the format. The result may not depend on how they arrive.
#include <fussy/codec.hpp>

#include "fuzz.hpp"

using namespace fussy;

namespace {

constexpr std::size_t most = 1 << 22;

struct slow_reader {
  memory_reader inner;
  std::size_t read(byte_span room) { return inner.read(room.first(std::min<std::size_t>(room.size(), 3))); }
};

errc read(any_reader from, std::size_t room, byte_vector& out) {
  try {
    byte_vector part(room);
    while (const std::size_t n = from.read(part)) {
      out.insert(out.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
      if (out.size() > most) return errc::too_large;
    }
    return errc::success;
  } catch (const error& e) {
    fuzz::require(e.code() == errc::malformed, e.what());
    fuzz::require(!e.parts().why.empty() && !e.parts().remedy.empty(), e.what());
    return e.code();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using codec::format;
  if (size == 0) return 0;
  constexpr format formats[] = {format::deflate, format::zlib, format::gzip, format::bzip2, format::zstd};
  const codec::decompress decompress(formats[data[0] % 5],
                                     data[0] & 0x80 ? codec::trailing::ignore : codec::trailing::refuse);
  const byte_view input = as_bytes(data + 1, size - 1);
  byte_vector whole, slow, narrow;
  const errc code = read(decompress(memory_reader(input)), 65536, whole);
  if (code == errc::too_large) return 0;
  fuzz::require(code == read(decompress(slow_reader{memory_reader(input)}), 65536, slow),
                "the code depends on reads of the input");
  fuzz::require(code == read(decompress(memory_reader(input)), 13, narrow), "the code depends on the size of reads");
  if (code == errc::success)
    fuzz::require(whole == slow && whole == narrow, "the content depends on the size of reads");
  return 0;
}
