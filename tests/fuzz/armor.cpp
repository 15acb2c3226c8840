// Armor: the size of reads and buffers makes no difference; what decodes can be encoded and decoded again.
#include "openpgp/armor.hpp"

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

struct decoded {
  errc code;
  byte_vector octets;
};

decoded decode(std::string_view text, std::size_t buffer, std::size_t room) {
  decoded d{};
  d.code = fuzz::refusal_of([&] {
    armor_reader reader(buffered_reader(memory_reader(text), buffer), armor_label::message);
    byte_vector part(room);
    while (const std::size_t n = reader.read(part))
      d.octets.insert(d.octets.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
  });
  return d;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(as_bytes(data, size));
  const decoded whole = decode(text, 65536, 65536), small = decode(text, 128, 5);
  fuzz::require(whole.code == small.code, "the code depends on the size of reads");
  if (whole.code == errc::success) {
    fuzz::require(whole.octets == small.octets, "the octets depend on the size of reads");
    const decoded again = decode(encode_armor(armor_label::message, whole.octets), 4096, 4096);
    fuzz::require(again.code == errc::success && again.octets == whole.octets,
                  "it cannot be encoded and decoded again");
  }
  const auto blocks = decode_armor(text);
  fuzz::require(blocks.empty() || has_armor(text), "a block without a BEGIN line");
  return 0;
}
