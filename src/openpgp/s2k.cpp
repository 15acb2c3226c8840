#include "s2k.hpp"

#include <botan/exceptn.h>
#include <botan/pwdhash.h>

#include "botan_seam.hpp"

namespace fussy::openpgp {
namespace {

[[noreturn]] void unsupported(const std::string& why) {
  throw error(errc::unsupported, {.what = "cannot turn the passphrase into a key",
                                  .why = why,
                                  .remedy = "change the passphrase of the key with gpg, which writes it anew"});
}

std::size_t decoded_count(std::uint8_t coded) { return (std::size_t{16} + (coded & 15)) << ((coded >> 4) + 6); }

}  // namespace

s2k s2k::parse(cursor& in) {
  s2k spec;
  spec.type = static_cast<kind>(in.u8());
  switch (spec.type) {
    case kind::simple:
      spec.hash = static_cast<hash_algorithm>(in.u8());
      return spec;
    case kind::salted:
      spec.hash = static_cast<hash_algorithm>(in.u8());
      spec.salt = to_vector(in.take(8));
      return spec;
    case kind::iterated:
      spec.hash = static_cast<hash_algorithm>(in.u8());
      spec.salt = to_vector(in.take(8));
      spec.count = decoded_count(in.u8());
      return spec;
    case kind::argon2:
      spec.salt = to_vector(in.take(16));
      spec.passes = in.u8();
      spec.parallelism = in.u8();
      spec.memory_bits = in.u8();
      return spec;
    case kind::gnu:
      spec.hash = static_cast<hash_algorithm>(in.u8());
      if (as_text(in.take(3)) != "GNU") break;
      spec.gnu_mode = in.u8();
      return spec;
  }
  unsupported("string-to-key of unknown type " + std::to_string(static_cast<unsigned>(spec.type)));
}

secret_vector s2k::derive(std::string_view passphrase, std::size_t octets) const {
  const bool argon = type == kind::argon2;
  if (type == kind::gnu) unsupported("there is no secret in this file");
  if (argon && (memory_bits > 21 || parallelism == 0 || passes == 0))
    unsupported("its Argon2 parameters are out of range");
  const std::string family_name = argon ? "Argon2id" : std::string("OpenPGP-S2K(") + seam::hash_name(hash) + ")";
  const auto family = Botan::PasswordHashFamily::create(family_name);
  if (!family) unsupported("this build lacks " + family_name);
  secret_vector key(octets);
  try {
    const auto derivation =
        argon ? family->from_params(std::size_t{1} << memory_bits, passes, parallelism) : family->from_params(count);
    derivation->derive_key(as_uint8(byte_span(key)), key.size(), passphrase.data(), passphrase.size(), as_uint8(salt),
                           salt.size());
  } catch (const Botan::Exception& e) {
    unsupported(e.what());
  }
  return key;
}

}  // namespace fussy::openpgp
