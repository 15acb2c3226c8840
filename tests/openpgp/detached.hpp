// Detached and clear-signed data, checked with the parts that packages are checked with. Only tests need it: a package
// carries its content.
#pragma once

#include <fussy/openpgp.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "openpgp/armor.hpp"
#include "openpgp/packet.hpp"
#include "openpgp/verdict.hpp"

namespace test {

/// @param signatures  packets, or armored. @throws fussy::error as a message_reader
inline std::vector<fussy::openpgp::signer> verify_detached(std::string_view content, std::string_view signatures,
                                                           const fussy::openpgp::keyring& ring,
                                                           const fussy::openpgp::policy& rules = {}) {
  using namespace fussy::openpgp;
  verdict result(ring, rules);
  const auto announce = [&](fussy::byte_view block) {
    packet_sequence packets(block);
    while (const auto p = packets.next())
      if (p->type == packet_type::signature) result.announce_prefixed(p->body);
  };
  if (has_armor(signatures)) {
    for (const armor_block& b : decode_armor(signatures))
      if (b.label == armor_label::signature) announce(b.octets);
  } else {
    announce(fussy::as_bytes(signatures));
  }
  result.begin_content();
  result.update(fussy::as_bytes(content));
  return result.conclude();
}

/// RFC 9580 §7: the text that a clear-signed message signs: dashes unescaped, blanks at line ends and the last line end
/// removed. The signature's hash makes CR LF of its line ends.
inline std::string clear_signed_text(std::string_view message) {
  std::size_t at = message.find("\n\n", message.find("-----BEGIN PGP SIGNED MESSAGE-----")) + 2;
  const std::size_t end = message.find("\n-----BEGIN PGP SIGNATURE-----", at);
  std::string text;
  while (at <= end) {
    const std::size_t line_end = message.find('\n', at);
    std::string_view line = message.substr(at, line_end - at);
    if (line.starts_with("- ")) line.remove_prefix(2);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.remove_suffix(1);
    text.append(line).append("\n");
    at = line_end + 1;
  }
  text.pop_back();
  return text;
}

inline std::vector<fussy::openpgp::signer> verify_clear_signed(std::string_view message,
                                                               const fussy::openpgp::keyring& ring,
                                                               const fussy::openpgp::policy& rules = {}) {
  return verify_detached(clear_signed_text(message), message, ring, rules);
}

}  // namespace test
