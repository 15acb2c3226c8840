// What a certificate's own signatures allow, and what strangers try with them.
#include <doctest/doctest.h>
#include <fussy/openpgp.hpp>

#include <algorithm>

#include "forge.hpp"
#include "gnupg.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using namespace test;

namespace {

std::string why(const result& r) { return std::string(name(r.code)) + ": " + r.message; }

#define ACCEPTED(r) CHECK_MESSAGE((r).code == errc::success, why(r))
#define REFUSED(r, expected) CHECK_MESSAGE((r).code == (expected), why(r))

byte_vector direct_key(const secret_key& key, const byte_vector& hashed) {
  return signature_packet(signature_body(key, signature_type::direct_key, key.key.hashed(), hashed));
}

}  // namespace

TEST_SUITE_BEGIN("openpgp: certificates");

TEST_CASE("a self-signed primary key with the flag signs") {
  for (const unsigned version : {4U, 6U}) {
    CAPTURE(version);
    const secret_key key = make_key(epoch, version);
    byte_vector block = primary_packet(key);
    if (version == 6) block = block + direct_key(key, created(epoch) + key_flags(0x03));
    block = block + certified(key, created(epoch) + key_flags(0x03));
    const result r = read_signed(key, ring_of(block));
    ACCEPTED(r);
    REQUIRE(r.signers.size() == 1);
    CHECK(r.signers[0].key == key.key.fingerprint);
    CHECK(r.signers[0].primary == key.key.fingerprint);
    CHECK(r.signers[0].user_id == vendor);
  }
}

TEST_CASE("a v6 certificate needs a direct-key signature, whatever certifies its user ID") {
  const secret_key key = make_key(epoch, 6);
  REFUSED(read_signed(key, ring_of(plain_certificate(key))), errc::key_unusable);
}

TEST_CASE("a v4 certificate without user ID is good with a direct-key signature") {
  const secret_key key = make_key();
  const byte_vector direct = direct_key(key, created(epoch) + key_flags(3));
  ACCEPTED(read_signed(key, ring_of(primary_packet(key) + direct)));
}

TEST_CASE("a key that nobody vouches for signs nothing") {
  const secret_key key = make_key(), stranger = make_key();
  SUBCASE("bare") { REFUSED(read_signed(key, ring_of(primary_packet(key))), errc::key_unusable); }
  SUBCASE("a user ID without signature") {
    REFUSED(read_signed(key, ring_of(primary_packet(key) + test::packet(packet_type::user_id, to_octets(vendor)))),
            errc::key_unusable);
  }
  SUBCASE("attack: a user ID that a stranger certified in the key's name") {
    byte_vector hashed = created(epoch) + key_flags(3) + issuer(key.key);
    byte_vector body =
        signature_body(stranger, signature_type::certification_positive, over_user_id(key.key, vendor), hashed);
    REFUSED(read_signed(key, ring_of(primary_packet(key) + test::packet(packet_type::user_id, to_octets(vendor)) +
                                     signature_packet(body))),
            errc::key_unusable);
  }
  SUBCASE("attack: a self-signature that belongs to another user ID") {
    byte_vector other = certified(key, created(epoch) + key_flags(3), "Other <o@example.org>");
    const byte_vector id = test::packet(packet_type::user_id, to_octets("Other <o@example.org>"));
    other.erase(other.begin(), other.begin() + static_cast<std::ptrdiff_t>(id.size()));
    REFUSED(
        read_signed(key, ring_of(primary_packet(key) + test::packet(packet_type::user_id, to_octets(vendor)) + other)),
        errc::key_unusable);
  }
}

TEST_CASE("key flags decide, and those of the newest self-signature") {
  const secret_key key = make_key();
  const auto ring = [&](const byte_vector& rest) { return ring_of(primary_packet(key) + rest); };
  SUBCASE("a primary key that may only certify") {
    REFUSED(read_signed(key, ring(certified(key, created(epoch) + key_flags(0x01)))), errc::key_unusable);
  }
  SUBCASE("without flags the algorithm decides") { ACCEPTED(read_signed(key, ring(certified(key, created(epoch))))); }
  SUBCASE("a newer self-signature takes the flag away, wherever it stands in the file") {
    const byte_vector older = certified(key, created(epoch) + key_flags(0x03));
    const byte_vector newer = certified(key, created(epoch + day) + key_flags(0x01));
    REFUSED(read_signed(key, ring(older + newer)), errc::key_unusable);
    REFUSED(read_signed(key, ring(newer + older)), errc::key_unusable);
  }
  SUBCASE("attack: flags in the unsigned area count for nothing") {
    const byte_vector body = signature_body(key, signature_type::certification_positive, over_user_id(key.key, vendor),
                                            created(epoch) + key_flags(0x01), key_flags(0x03));
    REFUSED(read_signed(key, ring(test::packet(packet_type::user_id, to_octets(vendor)) + signature_packet(body))),
            errc::key_unusable);
  }
}

TEST_CASE("expiry: what was signed before stays good, what is signed after is not") {
  const secret_key key = make_key();
  const auto ring = [&](const byte_vector& rest) { return ring_of(primary_packet(key) + rest); };
  const byte_vector for_a_year = created(epoch) + key_flags(3) + key_expires(365 * day);
  const keyring expiring = ring(certified(key, for_a_year));
  ACCEPTED(read_signed(key, expiring, {}, epoch + 364 * day));
  REFUSED(read_signed(key, expiring, {}, epoch + 365 * day), errc::key_expired);
  ACCEPTED(read_signed(key, expiring, {.ignore_expiry = true}, epoch + 400 * day));
  SUBCASE("a newer self-signature renews it") {
    const byte_vector renewed = created(epoch + 300 * day) + key_flags(3) + key_expires(3650 * day);
    ACCEPTED(read_signed(key, ring(certified(key, for_a_year) + certified(key, renewed)), {}, epoch + 400 * day));
  }
  SUBCASE("a newer one shortens it") {
    const byte_vector shortened = created(epoch + day) + key_flags(3) + key_expires(10 * day);
    REFUSED(read_signed(key, ring(certified(key, for_a_year) + certified(key, shortened)), {}, epoch + 20 * day),
            errc::key_expired);
  }
  SUBCASE("0 is never, as rnp writes it") {
    ACCEPTED(
        read_signed(key, ring(certified(key, created(epoch) + key_flags(3) + key_expires(0))), {}, epoch + 2000 * day));
  }
  SUBCASE("a direct-key signature speaks for the key before any user ID") {
    const byte_vector direct = direct_key(key, created(epoch) + key_flags(3) + key_expires(10 * day));
    REFUSED(read_signed(key, ring(direct + certified(key, for_a_year)), {}, epoch + 20 * day), errc::key_expired);
  }
  SUBCASE("a self-signature that itself has expired counts no more") {
    const byte_vector short_lived = created(epoch + day) + key_flags(3) + subpacket(3, number(day, 4));
    REFUSED(read_signed(key, ring(certified(key, short_lived))), errc::key_expired);
    ACCEPTED(read_signed(key, ring(certified(key, short_lived)), {.ignore_expiry = true}));
  }
  SUBCASE("a signature from before its key was made is no signature") {
    REFUSED(read_signed(key, expiring, {.ignore_expiry = true}, epoch - day), errc::bad_signature);
  }
}

TEST_CASE("a direct-key signature says more of the key than certifications of user IDs, also when it is older") {
  const secret_key key = make_key();
  const byte_vector id = subpacket(16, number(key.key.id, 8));  // gpg 2.2 looks for it
  const auto block = [&](long long direct_made, const byte_vector& direct, const byte_vector& certification) {
    return primary_packet(key) + direct_key(key, created(direct_made) + id + direct) +
           certified(key, created(epoch + 5 * day) + id + certification);
  };
  const auto ten_days = key_expires(10 * day), a_year = key_expires(365 * day);
  const struct {
    std::string what;
    byte_vector block;
    std::optional<long long> days;  ///< until it expires
    bool signs, gpg_agrees = true;
  } cases[] = {
      {"older, shorter", block(epoch, key_flags(3) + ten_days, key_flags(3) + a_year), 10, true},
      {"older, longer", block(epoch, key_flags(3) + a_year, key_flags(3) + ten_days), 365, true},
      {"older, for ever", block(epoch, key_flags(3) + key_expires(0), key_flags(3) + ten_days), {}, true, false},
      {"newer, silent about expiry", block(epoch + 6 * day, key_flags(3), key_flags(3) + ten_days), 10, true},
      {"older, with the flag", block(epoch, key_flags(3), key_flags(1)), {}, true},
      {"older, without the flag", block(epoch, key_flags(1), key_flags(3)), {}, false},
      {"newer, silent about flags", block(epoch + 6 * day, a_year, key_flags(1)), 365, false},
      {"renewed",
       block(epoch, ten_days, key_flags(3)) + primary_packet(key) +
           direct_key(key, created(epoch + 7 * day) + id + a_year),
       365, true, false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const keyring ring = ring_of(c.block);
    const key_info info = list(ring, {}).at(0).keys.at(0);
    CHECK(info.signs == c.signs);
    CHECK(info.expires.has_value() == c.days.has_value());
    if (c.days) CHECK(info.expires == at(epoch + *c.days * day));
    const errc late = c.days == 10 ? errc::key_expired : c.signs ? errc::success : errc::key_unusable;
    REFUSED(read_signed(key, ring, {}, epoch + 20 * day), late);

    // gpg says the same, but takes an expiry of 0 for none and goes on looking; and it does not merge copies.
    if (!c.gpg_agrees) continue;
    const gnupg home;
    const temporary_directory files;
    std::ofstream(files / "keys.gpg", std::ios::binary) << fussy::as_text(c.block);
    const std::string listed = home.output({"--no-auto-check-trustdb", "--no-default-keyring", "--keyring",
                                            (files / "keys.gpg").string(), "--with-colons", "--list-keys"});
    const std::string record = listed.substr(listed.find("pub:"), listed.find('\n', listed.find("pub:")));
    const std::string dates = std::to_string(epoch) + ":" + (c.days ? std::to_string(epoch + *c.days * day) : "") + ":";
    CHECK_MESSAGE(record.find(dates) != std::string::npos, record);
    CHECK_MESSAGE((record.find("::-:::sc") != std::string::npos) == c.signs, record);
  }
}

TEST_CASE("revocation of the primary key: nothing by it counts any more, whatever the reason and the time") {
  const secret_key key = make_key();
  const byte_vector block = primary_packet(key);
  const byte_vector user_id = certified(key, created(epoch) + key_flags(3));
  for (const unsigned code : {0U, 1U, 2U, 3U}) {
    CAPTURE(code);
    const keyring ring = ring_of(block + revocation(key, key.key, created(epoch + 200 * day) + reason(code)) + user_id);
    REFUSED(read_signed(key, ring, {}, epoch + 100 * day), errc::key_revoked);
    REFUSED(read_signed(key, ring, {}, epoch + 300 * day), errc::key_revoked);
    REFUSED(read_signed(key, ring, {.ignore_expiry = true}, epoch + 100 * day), errc::key_revoked);
    REFUSED(read_signed(key, ring, {.now = at(epoch + 150 * day)}, epoch + 100 * day), errc::key_revoked);
  }
  SUBCASE("without a reason") {
    REFUSED(read_signed(key, ring_of(block + revocation(key, key.key, created(epoch + day)) + user_id)),
            errc::key_revoked);
  }
  SUBCASE("a newer self-signature does not undo it") {
    REFUSED(read_signed(key, ring_of(block + revocation(key, key.key, created(epoch + day) + reason(1)) + user_id +
                                     certified(key, created(epoch + 300 * day) + key_flags(3)))),
            errc::key_revoked);
  }
  SUBCASE("its subkeys go with it") {
    const secret_key subkey = make_key();
    const byte_vector bind =
        bound(key, subkey, created(epoch) + key_flags(2), back_signed(subkey, key.key, subkey.key));
    ACCEPTED(read_signed(subkey, ring_of(block + user_id + bind)));
    REFUSED(read_signed(subkey,
                        ring_of(block + revocation(key, key.key, created(epoch + day) + reason(2)) + user_id + bind)),
            errc::key_revoked);
  }
}

TEST_CASE("attack: a stranger's revocation disables nobody's key") {
  const secret_key key = make_key(), stranger = make_key();
  const byte_vector user_id = certified(key, created(epoch) + key_flags(3));
  SUBCASE("signed by the stranger") {
    ACCEPTED(read_signed(key, ring_of(primary_packet(key) + revocation(stranger, key.key, created(epoch)) + user_id)));
  }
  SUBCASE("in the key's name") {
    ACCEPTED(read_signed(
        key, ring_of(primary_packet(key) + revocation(stranger, key.key, created(epoch) + issuer(key.key)) + user_id)));
  }
  SUBCASE("with the stranger in the same ring") {
    ACCEPTED(read_signed(key, ring_of(primary_packet(key) + revocation(stranger, key.key, created(epoch)) + user_id +
                                      plain_certificate(stranger))));
  }
}

TEST_CASE("a designated revoker revokes, if the key itself named him") {
  const secret_key key = make_key(), revoker = make_key();
  const byte_vector designation =
      subpacket(12, number(0x80, 1) + number(22, 1) + pgp::to_vector(revoker.key.fingerprint.octets()));
  const byte_vector direct = direct_key(key, created(epoch) + designation);
  const byte_vector user_id = certified(key, created(epoch) + key_flags(3));
  const byte_vector revoked = revocation(revoker, key.key, created(epoch + day) + reason(2));
  ACCEPTED(read_signed(key, ring_of(primary_packet(key) + direct + user_id + plain_certificate(revoker))));
  REFUSED(read_signed(key, ring_of(primary_packet(key) + direct + revoked + user_id + plain_certificate(revoker))),
          errc::key_revoked);
  // Without the revoker's key the revocation cannot be checked, and without the designation it is a stranger's.
  ACCEPTED(read_signed(key, ring_of(primary_packet(key) + direct + revoked + user_id)));
  ACCEPTED(read_signed(key, ring_of(primary_packet(key) + revoked + user_id + plain_certificate(revoker))));
}

TEST_CASE("a revoked user ID takes the certificate with it only if it was the last") {
  const secret_key key = make_key();
  const auto revoked = [&](std::string_view user_id, long long when) {
    return signature_packet(signature_body(key, signature_type::certification_revocation,
                                           over_user_id(key.key, user_id), created(when) + reason(32)));
  };
  const byte_vector first = certified(key, created(epoch) + key_flags(3), "first");
  const byte_vector second = certified(key, created(epoch) + key_flags(3), "second");
  const auto ring = [&](const byte_vector& rest) { return ring_of(primary_packet(key) + rest); };
  REFUSED(read_signed(key, ring(first + revoked("first", epoch + day))), errc::key_revoked);
  const result r = read_signed(key, ring(first + revoked("first", epoch + day) + second));
  ACCEPTED(r);
  CHECK(r.signers.at(0).user_id == "second");
  // Certified again later, it is back.
  ACCEPTED(read_signed(key, ring(first + revoked("first", epoch + day) +
                                 certified(key, created(epoch + 2 * day) + key_flags(3), "first"))));
}

TEST_CASE("all user IDs revoked: the key counts on only where a direct-key signature vouches for it without a name") {
  for (const unsigned version : {4U, 6U}) {
    CAPTURE(version);
    const secret_key key = make_key(epoch, version);
    const byte_vector direct = direct_key(key, created(epoch) + key_flags(3));
    const byte_vector user_id =
        certified(key, created(epoch) + key_flags(3)) +
        signature_packet(signature_body(key, signature_type::certification_revocation, over_user_id(key.key, vendor),
                                        created(epoch + day) + reason(32)));
    const result r = read_signed(key, ring_of(primary_packet(key) + direct + user_id));
    ACCEPTED(r);
    CHECK(r.signers.at(0).user_id == "");
    CHECK(list(ring_of(primary_packet(key) + direct + user_id), {}).at(0).user_ids.at(0).revoked);
    // In version 6 user IDs never say anything about the key.
    REFUSED(read_signed(key, ring_of(primary_packet(key) + user_id)),
            version == 6 ? errc::key_unusable : errc::key_revoked);
    // Who withdraws a key revokes the key.
    REFUSED(read_signed(key, ring_of(primary_packet(key) + revocation(key, key.key, created(epoch + day) + reason(2)) +
                                     direct + user_id)),
            errc::key_revoked);
  }
}

TEST_CASE("a revoked user ID is listed as revoked, also where nothing but the revocation is left of it") {
  const secret_key key = make_rsa_key(), stranger = make_key();
  const std::string_view gone = "Gone <gone@example.org>";
  const byte_vector id = test::packet(packet_type::user_id, to_octets(gone));
  const auto revoked = [&](const secret_key& by, long long when) {
    return signature_packet(signature_body(by, signature_type::certification_revocation, over_user_id(key.key, gone),
                                           created(when) + reason(32) + issuer(key.key)));
  };
  const auto listed = [&](const byte_vector& rest, const policy& rules = {}) {
    const auto user_ids = list(ring_of(plain_certificate(key) + rest), rules).at(0).user_ids;
    const auto it = std::ranges::find(user_ids, gone, &user_id_info::text);
    REQUIRE(it != user_ids.end());
    return std::string(it->revoked ? "revoked" : "") + (it->valid ? "valid" : "");
  };
  const byte_vector newer = certified(key, created(epoch + 2 * day) + key_flags(3), gone);
  CHECK(listed(id + revoked(key, epoch + day)) == "revoked");
  CHECK(listed(certified(key, created(epoch) + key_flags(3), gone) + revoked(key, epoch + day)) == "revoked");
  CHECK(listed(id + revoked(key, epoch + day) + newer) == "valid");
  CHECK(listed(newer + revoked(key, epoch + day)) == "valid");
  SUBCASE("a certification that counts for nothing does not bring it back") {
    const byte_vector weak = certified(key, created(epoch + 2 * day) + key_flags(3), gone, hash_algorithm::sha1);
    CHECK(listed(id + revoked(key, epoch + day) + weak) == "valid");
    CHECK(listed(id + revoked(key, epoch + day) + weak, {.sha1_self_signatures = false}) == "revoked");
  }
  SUBCASE("attack: a stranger's revocation in the key's name") {
    CHECK(listed(id + revoked(stranger, epoch + day)) == "");
    CHECK(listed(newer + revoked(stranger, epoch + 3 * day)) == "valid");
  }
  SUBCASE("it is the only one: the certificate says so when it is of no use") {
    const result r = read_signed(key, ring_of(primary_packet(key) + id + revoked(key, epoch + day)));
    REFUSED(r, errc::key_revoked);
    CHECK_MESSAGE(r.message.find("all of its user IDs were revoked") != std::string::npos, r.message);
  }
}

TEST_CASE("a signing subkey signs if both keys say so") {
  const secret_key key = make_key(), subkey = make_key();
  const byte_vector front = primary_packet(key) + certified(key, created(epoch) + key_flags(1));
  const byte_vector may_sign = created(epoch) + key_flags(0x02);
  const byte_vector back = back_signed(subkey, key.key, subkey.key);
  const auto reading = [&](const byte_vector& rest, const policy& rules = {}) {
    return read_signed(subkey, ring_of(front + rest), rules);
  };
  SUBCASE("back-signature in the unsigned area, where gpg puts it") {
    ACCEPTED(reading(bound(key, subkey, may_sign, back)));
  }
  SUBCASE("back-signature in the signed area") { ACCEPTED(reading(bound(key, subkey, may_sign + back, {}))); }
  SUBCASE("attack: adopting somebody's signing subkey, without his back-signature") {
    REFUSED(reading(bound(key, subkey, may_sign, {})), errc::key_unusable);
  }
  SUBCASE("attack: with a back-signature by the adopter") {
    REFUSED(reading(bound(key, subkey, may_sign, back_signed(key, key.key, subkey.key))), errc::key_unusable);
  }
  SUBCASE("attack: with the back-signature for the real owner") {
    const secret_key owner = make_key();
    REFUSED(reading(bound(key, subkey, may_sign, back_signed(subkey, owner.key, subkey.key))), errc::key_unusable);
  }
  SUBCASE("attack: with the back-signature of another subkey") {
    const secret_key other = make_key();
    REFUSED(reading(bound(key, subkey, may_sign, back_signed(other, key.key, other.key))), errc::key_unusable);
  }
  SUBCASE("attack: with a signature of the wrong type instead") {
    const byte_vector wrong = subpacket(
        32, signature_body(subkey, signature_type::subkey_binding, over_subkey(key.key, subkey.key), created(epoch)));
    REFUSED(reading(bound(key, subkey, may_sign, wrong)), errc::key_unusable);
  }
  SUBCASE("without the flag") {
    REFUSED(reading(bound(key, subkey, created(epoch) + key_flags(0x0c), back)), errc::key_unusable);
    REFUSED(reading(bound(key, subkey, created(epoch) + key_flags(0x20), back)), errc::key_unusable);
  }
  SUBCASE("attack: bound by a stranger") {
    const secret_key stranger = make_key();
    REFUSED(reading(bound(stranger, subkey, may_sign + issuer(key.key), back)), errc::key_unusable);
  }
  SUBCASE("the newest binding counts") {
    const byte_vector older = bound(key, subkey, may_sign, back);
    const byte_vector newer = bound(key, subkey, created(epoch + day) + key_flags(0x20), back);
    REFUSED(reading(older + newer), errc::key_unusable);
    REFUSED(reading(newer + older), errc::key_unusable);
  }
  SUBCASE("it expires from its own creation") {
    const byte_vector bind = bound(key, subkey, may_sign + key_expires(50 * day), back);
    REFUSED(reading(bind), errc::key_expired);
    ACCEPTED(read_signed(subkey, ring_of(front + bind), {}, epoch + 49 * day));
  }
  SUBCASE("revoked, a new binding does not revive it") {
    const byte_vector revoked = signature_packet(signature_body(
        key, signature_type::subkey_revocation, over_subkey(key.key, subkey.key), created(epoch + day) + reason(3)));
    REFUSED(reading(bound(key, subkey, may_sign, back) + revoked), errc::key_revoked);
    REFUSED(reading(bound(key, subkey, may_sign, back) + revoked +
                    bound(key, subkey, created(epoch + 2 * day) + key_flags(2), back)),
            errc::key_revoked);
  }
  SUBCASE("its primary key has expired") {
    const byte_vector expired =
        primary_packet(key) + certified(key, created(epoch) + key_flags(1) + key_expires(50 * day));
    REFUSED(read_signed(subkey, ring_of(expired + bound(key, subkey, may_sign, back))), errc::key_expired);
  }
}

TEST_CASE("SHA-1 in self-signatures is accepted unless the policy refuses it, MD5 never is") {
  const secret_key key = make_rsa_key();
  const policy strict{.sha1_self_signatures = false};
  const auto reading = [&](hash_algorithm hash, const policy& rules) {
    return read_signed(key, ring_of(primary_packet(key) + certified(key, created(epoch) + key_flags(3), vendor, hash)),
                       rules);
  };
  for (const hash_algorithm weak : {hash_algorithm::sha1, hash_algorithm::ripemd160}) {
    CAPTURE(name(weak));
    ACCEPTED(reading(weak, {}));
    REFUSED(reading(weak, strict), errc::weak_algorithm);
  }
  REFUSED(reading(hash_algorithm::md5, {}), errc::weak_algorithm);
  ACCEPTED(reading(hash_algorithm::sha224, strict));
  SUBCASE("an older one that is accepted takes the place of a newer one that is not") {
    const byte_vector older = certified(key, created(epoch) + key_flags(3));
    const byte_vector newer = certified(key, created(epoch + day) + key_flags(1), vendor, hash_algorithm::md5);
    ACCEPTED(read_signed(key, ring_of(primary_packet(key) + older + newer)));
  }
  SUBCASE("revocations with SHA-1 always count") {
    const byte_vector revoked =
        signature_packet(signature_body(key, signature_type::key_revocation, key.key.hashed(),
                                        created(epoch + day) + reason(2), {}, hash_algorithm::sha1));
    REFUSED(read_signed(key, ring_of(primary_packet(key) + revoked + certified(key, created(epoch) + key_flags(3))),
                        strict),
            errc::key_revoked);
  }
}

TEST_CASE("RSA keys below the policy's size do not count") {
  const secret_key key = make_rsa_key(1024);
  const keyring ring = ring_of(plain_certificate(key));
  REFUSED(read_signed(key, ring), errc::weak_algorithm);
  ACCEPTED(read_signed(key, ring, {.min_rsa_bits = 1024}));
}

TEST_CASE("a self-signature with a critical subpacket that is not known counts for nothing") {
  const secret_key key = make_key();
  const byte_vector known = created(epoch) + key_flags(3);
  const auto reading = [&](const byte_vector& extra) {
    return read_signed(key, ring_of(primary_packet(key) + certified(key, known + extra)));
  };
  REFUSED(reading(subpacket(100, number(1, 1), true)), errc::key_unusable);
  REFUSED(reading(subpacket(20, byte_vector(8) + to_octets("x"), true)), errc::key_unusable);
  ACCEPTED(reading(subpacket(100, number(1, 1), false)));
  ACCEPTED(reading(subpacket(20, byte_vector(8) + to_octets("x"), false)));
  ACCEPTED(reading(subpacket(30, number(1, 1), true)));
}

TEST_CASE("a signature over a package: what its signed area says counts, what is unsigned or not known does not") {
  const secret_key key = make_key();
  const keyring ring = ring_of(plain_certificate(key));
  const byte_vector one_pass = sign(key, "content").one_pass;
  const byte_vector made = created(epoch + day),
                    critical_notation = subpacket(20, byte_vector(8) + to_octets("x"), true);
  const auto reading = [&](const byte_vector& hashed, const byte_vector& unhashed = {}) {
    return read(
        one_pass + literal("content") +
            signature_packet(signature_body(key, signature_type::binary, to_octets("content"), hashed, unhashed)),
        ring);
  };
  ACCEPTED(reading(made));
  REFUSED(reading({}), errc::bad_signature);
  REFUSED(reading({}, made), errc::bad_signature);
  REFUSED(reading(made + subpacket(100, number(1, 1), true)), errc::bad_signature);
  REFUSED(reading(made + critical_notation), errc::bad_signature);
  REFUSED(reading(made + subpacket(3, number(day, 4))), errc::signature_expired);
  ACCEPTED(reading(made + subpacket(100, number(1, 1))));
  ACCEPTED(reading(made, subpacket(100, number(1, 1), true) + critical_notation + subpacket(3, number(day, 4))));
  ACCEPTED(reading(made + subpacket(9, number(1, 4)) + key_flags(0)));  // about keys; this is none
  ACCEPTED(reading(made + subpacket(35, number(4, 1) + byte_vector(20))));
  ACCEPTED(reading(made + subpacket(3, number(0, 4), true) + subpacket(26, to_octets("https://example.org"), true)));
  SUBCASE("of several the last one counts") {
    REFUSED(reading(made + created(epoch - day)), errc::bad_signature);  // before its key was made
    ACCEPTED(reading(created(epoch - day) + made));
  }
  SUBCASE("attack: areas and subpackets longer than what they are in") {
    REFUSED(reading(made + number(200, 1) + number(2, 1)), errc::bad_signature);
    REFUSED(reading(made + number(0, 1)), errc::bad_signature);
    REFUSED(reading(made + subpacket(3, number(1, 2))), errc::bad_signature);
  }
}

TEST_CASE("attack: a stranger's revocation of a subkey disables nothing") {
  const secret_key key = make_key(), subkey = make_key(), stranger = make_key();
  const byte_vector block = primary_packet(key) + certified(key, created(epoch) + key_flags(1)) +
                            bound(key, subkey, created(epoch) + key_flags(2), back_signed(subkey, key.key, subkey.key));
  const auto revoked_by = [&](const secret_key& by, const byte_vector& more) {
    return signature_packet(signature_body(by, signature_type::subkey_revocation, over_subkey(key.key, subkey.key),
                                           created(epoch + day) + more));
  };
  ACCEPTED(read_signed(subkey, ring_of(block + revoked_by(stranger, {}))));
  ACCEPTED(read_signed(subkey, ring_of(block + revoked_by(stranger, issuer(key.key)))));
  ACCEPTED(read_signed(subkey, ring_of(block + revoked_by(subkey, {}))));
  REFUSED(read_signed(subkey, ring_of(block + revoked_by(key, {}))), errc::key_revoked);
}

TEST_CASE("subkeys and signatures of kinds that are not known are skipped, the rest of the certificate counts") {
  const secret_key key = make_key(), subkey = make_key();
  byte_vector future_key = subkey.key.body, future_signature(40, std::byte{9});
  future_key[0] = std::byte{7};
  const byte_vector front = primary_packet(key) + certified(key, created(epoch) + key_flags(1));
  const byte_vector odd =
      test::packet(packet_type::public_subkey, future_key) +
      signature_packet(signature_body(key, signature_type::subkey_binding, key.key.hashed(), created(epoch))) +
      signature_packet(future_signature) + test::packet(packet_type::user_attribute, to_octets("image")) +
      test::packet(packet_type::trust, to_octets("t")) + test::packet(static_cast<packet_type>(60), to_octets("?"));
  const byte_vector good = bound(key, subkey, created(epoch) + key_flags(2), back_signed(subkey, key.key, subkey.key));
  ACCEPTED(read_signed(subkey, ring_of(front + odd + good)));
}

TEST_CASE("copies of a certificate are one: what one copy has, all have") {
  const secret_key key = make_key();
  const byte_vector old_copy =
      primary_packet(key) + certified(key, created(epoch) + key_flags(3) + key_expires(10 * day));
  const byte_vector renewed =
      primary_packet(key) + certified(key, created(epoch + 5 * day) + key_flags(3) + key_expires(3650 * day));
  const byte_vector revoked = primary_packet(key) + revocation(key, key.key, created(epoch + 6 * day) + reason(2));
  ACCEPTED(read_signed(key, ring_of(old_copy + renewed)));
  ACCEPTED(read_signed(key, ring_of(renewed + old_copy)));
  REFUSED(read_signed(key, ring_of(revoked + renewed + old_copy)), errc::key_revoked);
  REFUSED(read_signed(key, ring_of(renewed + revoked)), errc::key_revoked);
  CHECK(ring_of(old_copy + renewed + revoked).internals().certificates.size() == 1);
}

TEST_CASE("two keys with the same key ID are both tried") {
  // Such a pair cannot be made in a test, so one key is put into a ring twice under different certificates.
  const secret_key first = make_key(), second = make_key(), subkey = make_key();
  const byte_vector back = back_signed(subkey, second.key, subkey.key);
  const byte_vector block =
      plain_certificate(first, "first") + bound(first, subkey, created(epoch) + key_flags(2), {}) +
      plain_certificate(second, "second") + bound(second, subkey, created(epoch) + key_flags(2), back);
  const result r = read_signed(subkey, ring_of(block));
  ACCEPTED(r);
  CHECK(r.signers.at(0).user_id == "second");
}

TEST_CASE("policy: k signers are k certificates, however many keys of one of them sign") {
  const secret_key key = make_key(), first = make_key(), second = make_key(), other = make_key();
  const byte_vector block = plain_certificate(key) +
                            bound(key, first, created(epoch) + key_flags(2), back_signed(first, key.key, first.key)) +
                            bound(key, second, created(epoch) + key_flags(2), back_signed(second, key.key, second.key));
  const keyring ring = ring_of(block + plain_certificate(other, "Other <o@example.org>"));
  const auto signed_by = [&](const std::vector<const secret_key*>& keys) {
    byte_vector heads, tails;
    for (const secret_key* k : keys) {
      const signed_pair s = sign(*k, "content");
      heads = heads + s.one_pass;
      tails = s.signature + tails;
    }
    return heads + literal("content") + tails;
  };
  const policy two{.min_signers = 2}, three{.min_signers = 3};
  ACCEPTED(read(byte_view(signed_by({&key, &first, &second})), ring));
  REFUSED(read(byte_view(signed_by({&key, &first, &second})), ring, two), errc::too_few_signers);
  ACCEPTED(read(byte_view(signed_by({&first, &other})), ring, two));
  REFUSED(read(byte_view(signed_by({&first, &other, &second})), ring, three), errc::too_few_signers);
  // Of two signers who are not allowed both, one is left.
  const policy only{.min_signers = 2, .allowed = {key.key.fingerprint}};
  REFUSED(read(byte_view(signed_by({&first, &other})), ring, only), errc::too_few_signers);
}

TEST_CASE("policy: who is allowed, by primary key or subkey") {
  const secret_key key = make_key(), subkey = make_key();
  const keyring ring = ring_of(plain_certificate(key) + bound(key, subkey, created(epoch) + key_flags(2),
                                                              back_signed(subkey, key.key, subkey.key)));
  ACCEPTED(read_signed(subkey, ring, {.allowed = {key.key.fingerprint}}));
  ACCEPTED(read_signed(subkey, ring, {.allowed = {subkey.key.fingerprint}}));
  ACCEPTED(read_signed(key, ring, {.allowed = {key.key.fingerprint}}));
  REFUSED(read_signed(key, ring, {.allowed = {subkey.key.fingerprint}}), errc::signer_not_allowed);
  REFUSED(read_signed(key, ring, {.hashes = {"SHA-256"}}), errc::weak_algorithm);
  ACCEPTED(read_signed(key, ring, {.hashes = {"SHA-256", "SHA-512"}}));
}

TEST_CASE("the clock: never earlier than the newest self-signature, and the policy may say another time") {
  const secret_key key = make_key();
  const long long future = 4000000000;  // 2096
  const keyring ring = ring_of(primary_packet(key) + certified(key, created(future) + key_flags(3)));
  CHECK(ring.internals().now({}) == at(future));
  CHECK(ring.internals().now({.now = at(epoch)}) == at(epoch));
  const auto system = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  CHECK(ring_of(plain_certificate(key)).internals().now({}) >= system);
  // A self-signature from after the time that was asked about does not count yet.
  REFUSED(read_signed(key, ring, {.now = at(epoch + day)}), errc::key_expired);
  ACCEPTED(read_signed(key, ring));
}

TEST_SUITE_END();
