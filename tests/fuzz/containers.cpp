// Encrypted data packets, with a session key that is all zeros (so that a fuzzer can start from sound ones).
#include "openpgp/encrypted_data.hpp"

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

errc read(byte_view packet, std::size_t room, byte_vector& out) {
  return fuzz::refusal_of([&] {
    packet_reader container{any_reader(memory_reader(packet))};
    const auto type = container.next();
    if (type != packet_type::encrypted_and_integrity_protected_data && type != packet_type::gnupg_aead_encrypted_data)
      return;
    const container_header header = read_container_header(container);
    const symmetric_algorithm cipher = header.is_aead() ? header.cipher : symmetric_algorithm::aes256;
    const auto opened = decrypt(container, header, {cipher, secret_vector(key_octets(cipher))});
    byte_vector part(room);
    while (const std::size_t n = opened->read(part))
      out.insert(out.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  byte_vector large, small;
  const errc code = read(as_bytes(data, size), 65536, large);
  fuzz::require(code == read(as_bytes(data, size), 33, small), "the code depends on the size of reads");
  fuzz::require(large == small, "the plaintext depends on the size of reads");
  return 0;
}
