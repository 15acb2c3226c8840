// Messages, read with keys that are stored: each is refused with a reason, or gives a proof. The first octet picks how
// the rest arrives: as it is, or inside of encrypted data that are sound.
#include <fussy/openpgp.hpp>

#include <string>

#include "../openpgp/packages.hpp"
#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using test::operator+;

namespace {

constexpr std::uint64_t max_content = 4 << 20;

const keyring& ring() {
  static const keyring loaded = keyring::load(std::filesystem::path(FUSSY_TEST_DATA) / "flips" / "keys.gpg");
  return loaded;
}

// A session key packet for the key of the ring that is fast.
struct sealed_head {
  session_key key = test::random_session_key(symmetric_algorithm::aes128);
  byte_vector packet;
  sealed_head() {
    for (const auto& s : ring().internals().secrets)
      if (s->key().algorithm == public_key_algorithm::ecdh) packet = test::session_key_packet(s->key(), key);
  }
};

errc read(byte_view message, std::size_t room, std::string& content) {
  policy rules;
  rules.max_content = max_content;
  return fuzz::refusal_of([&] {
    message_reader reader(any_reader(memory_reader(message)), ring(), rules);
    byte_vector part(room);
    while (const std::size_t n = reader.read(part)) content += as_text(byte_view(part).first(n));
    const verification proof = reader.finish();
    fuzz::require(!proof.signers().empty(), "a proof without a signer");
    fuzz::require(proof.content_size() == content.size(), "a proof of another size");
  });
}

// Somebody is asked to add a signature: refused, or what comes out has the same content, which is proven.
void add_signature(byte_view message, bool is_proven, const std::string& content) {
  byte_vector out;
  const errc code = fuzz::refusal_of([&] {
    try {
      add_signatures(any_reader(memory_reader(message)), vector_writer(out), ring(), {.signers = {"ed@example.org"}});
    } catch (const error& e) {
      if (e.code() != errc::usage) throw;  // it is encrypted
      throw error(errc::bad_message, e.parts());
    }
  });
  if (code != errc::success || !is_proven) return;
  std::string again;
  fuzz::require(read(out, 65536, again) == errc::success, "a signature more and no proof");
  fuzz::require(again == content, "a signature more and another content");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const byte_view rest = as_bytes(data + 1, size - 1);
  byte_vector message(rest.begin(), rest.end());
  if (data[0] == 'e') {
    static const sealed_head head;
    message = head.packet + test::encrypted(head.key, message);
  }
  std::string large, small;
  const errc code = read(message, 65536, large);
  fuzz::require(code == read(message, 61, small), "the code depends on the size of reads");
  fuzz::require(large.size() <= max_content + 65536, "more content than the policy allows");
  if (code == errc::success) fuzz::require(large == small, "the content depends on the size of reads");
  if (data[0] != 'e') add_signature(message, code == errc::success, large);
  return 0;
}
