// Reading a message: the packets of RFC 9580 §10.3 as they come, container by container, down to the one literal and
// up again. Nothing recurses, nothing is kept but fixed buffers, and what is not expected is refused.
#include <fussy/codec.hpp>
#include <fussy/openpgp.hpp>

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "armor.hpp"
#include "encrypted_data.hpp"
#include "keyring_state.hpp"
#include "packet.hpp"
#include "session_key.hpp"
#include "verdict.hpp"

namespace fussy::openpgp {

struct verification_access {
  static verification make(std::vector<signer> signers, bool encrypted, std::uint64_t content_size) {
    verification proof;
    proof.signers_ = std::move(signers);
    proof.encrypted_ = encrypted;
    proof.content_size_ = content_size;
    return proof;
  }
};

namespace {

// A package has one container of each kind at most; what has more is made to hurt. bzip2 takes 4 MiB of memory each.
constexpr std::size_t max_compressed = 2;
constexpr std::size_t max_small_packet = 128 * 1024;  // signatures and session keys, post-quantum ones, too
// Octets that are neither content nor needed: padding, markers. Who pads (sq does) adds up to an eighth.
constexpr std::uint64_t skipped_allowance = 64 * 1024 * 1024;

[[noreturn]] void bad(std::string why) {
  throw error(errc::bad_message, {.what = "this is no OpenPGP message that a package may be",
                                  .why = std::move(why),
                                  .remedy = "use a file made by fussy-pack, or by gpg --sign or gpg --sign --encrypt"});
}

[[noreturn]] void not_openpgp(std::string why) {
  throw error(errc::not_openpgp, {.what = "this is no OpenPGP message",
                                  .why = std::move(why),
                                  .remedy = "use a file made by fussy-pack, or by gpg --sign"});
}

[[noreturn]] void ends_early(std::string why) {
  throw error(errc::truncated, {.what = "the package ends too early",
                                .why = std::move(why),
                                .remedy = "the file is incomplete; get it again from its source"});
}

[[noreturn]] void too_large(std::string why, std::string remedy) {
  throw error(errc::message_too_large,
              {.what = "the package is too large", .why = std::move(why), .remedy = std::move(remedy)});
}

std::string describe_protection(const container_header& header) {
  if (header.type == packet_type::gnupg_aead_encrypted_data)
    return std::string("GnuPG AEAD (") + name(header.aead) + ")";
  return header.version == 2 ? std::string("SEIPD v2 (") + name(header.aead) + ")" : "SEIPD v1 (MDC)";
}

// Notes whether a decompressor wanted more than there is.
struct end_noting_reader {
  packet_reader* from;
  bool* ended;
  std::size_t read(byte_span room) {
    const std::size_t n = from->read(room);
    if (n == 0) *ended = true;
    return n;
  }
};

// A sequence of packets: the message itself, or what is inside a container of the one above.
struct layer {
  explicit layer(any_reader source) : packets(std::move(source)) {}
  explicit layer(buffered_reader source) : packets(std::move(source)) {}

  packet_reader packets;
  std::unique_ptr<openpgp::decryptor> decryptor;  // of the container it comes from, when that is encrypted
  bool compressed = false;                        // or that is compressed
  bool body_ended = false;                        // a decompressor wanted more of a body than there is
};

}  // namespace

struct message_reader::impl {
  impl(any_reader from, keyring ring, policy p)
      : keys(std::move(ring)),
        rules(std::move(p)),
        source(std::move(from)),
        result(keys, rules),
        recipients(keys.internals()) {}

  // ---- What the caller sees ----

  std::size_t read(byte_span room) {
    if (failure) std::rethrow_exception(failure);
    if (proof) return 0;
    try {
      return step(room);
    } catch (const error& e) {
      failure = std::make_exception_ptr(settle(e));
    } catch (...) {
      failure = std::current_exception();
    }
    std::rethrow_exception(failure);
  }

  std::size_t step(byte_span room) {
    if (!in_content) {
      open_message();
      descend_to_content();
      result.begin_content();
      in_content = true;
    }
    const std::size_t n = top().packets.read(room);
    if (n == 0) {
      ascend();
      return 0;
    }
    size += n;
    if (size > rules.max_content)
      too_large("it has more than " + std::to_string(rules.max_content) + " octets of content",
                "raise the policy's limit if the package is meant to be so");
    result.update(room.first(n));
    return n;
  }

  // ---- Down to the content ----

  void open_message() {
    buffered_reader octets(std::move(source));
    const byte_view head = octets.peek(2);
    if (head.empty()) not_openpgp("it is empty");
    if (std::to_integer<unsigned>(head[0]) >= 0x80) {
      binary = true;
      push(std::make_unique<layer>(std::move(octets)));
    } else if (head.size() == 2 && head[0] == std::byte{0x1f} && head[1] == std::byte{0x8b}) {
      not_openpgp("it is a gzip file without a signature");
    } else {
      seen.armored = true;
      push(std::make_unique<layer>(any_reader(armor_reader(std::move(octets), armor_label::message))));
    }
  }

  void descend_to_content() {
    for (;;) {
      const auto type = top().packets.next();
      if (!type) end_without_content();
      ++packets_seen;
      switch (*type) {
        case packet_type::one_pass_signature:
          before_content(*type);
          result.announce_one_pass(top().packets.read_body(max_small_packet));
          signatures_seen = true;
          break;
        case packet_type::signature:
          before_content(*type);
          result.announce_prefixed(top().packets.read_body(max_small_packet));
          signatures_seen = true;
          break;
        case packet_type::public_key_encrypted_session_key:
          before_encrypted(*type);
          recipients.add_public_key_packet(top().packets.read_body(max_small_packet));
          break;
        case packet_type::symmetric_key_encrypted_session_key:
          before_encrypted(*type);
          recipients.add_passphrase_packet();
          seen.passphrase = true;
          skip();
          break;
        case packet_type::compressed_data:
          before_container(*type);
          enter_compressed();
          break;
        case packet_type::encrypted_and_integrity_protected_data:
        case packet_type::gnupg_aead_encrypted_data:
          before_container(*type);
          enter_encrypted();
          break;
        case packet_type::symmetrically_encrypted_data:
          refuse_unprotected();
        case packet_type::literal_data:
          before_content(*type);
          read_literal_header();
          return;
        default:
          skip_or_refuse(*type);
      }
    }
  }

  // A signature over a container would be over something else than the content (and gpg does not check those).
  void before_container(packet_type type) const {
    if (signatures_seen) bad("a " + describe(type) + " stands inside of signatures, where the content has to be");
  }
  void before_encrypted(packet_type type) const {
    before_container(type);
    if (encrypted) bad("it is encrypted twice");
  }
  void before_content(packet_type type) const {
    if (!encrypted && recipients.any())
      bad("a " + describe(type) + " follows session keys, where encrypted data have to be");
  }

  void enter_compressed() {
    before_content(packet_type::compressed_data);
    if (++compressed > max_compressed)
      too_large("it is compressed more than " + std::to_string(max_compressed) + " times over",
                "have it made without: the archive in it is compressed already");
    packet_reader& outer = top().packets;
    std::byte algorithm{};
    if (read_full(outer, {&algorithm, 1}) == 0) ends_early("it ends inside a compressed data packet");

    seen.compression.emplace_back(name(static_cast<compression_algorithm>(algorithm)));
    any_reader inside(end_noting_reader{&outer, &top().body_ended});
    const auto decompress = [&](codec::format format) {
      inside = codec::decompress(format, codec::trailing::ignore)(std::move(inside));
    };
    switch (static_cast<compression_algorithm>(algorithm)) {
      case compression_algorithm::none:
        break;
      case compression_algorithm::zip:
        decompress(codec::format::deflate);
        break;
      case compression_algorithm::zlib:
        decompress(codec::format::zlib);
        break;
      case compression_algorithm::bzip2:
        decompress(codec::format::bzip2);
        break;
      default:
        bad("compression algorithm " + std::to_string(std::to_integer<unsigned>(algorithm)) + " is not known");
    }
    auto inner = std::make_unique<layer>(std::move(inside));
    inner->compressed = true;
    push(std::move(inner));
  }

  void enter_encrypted() {
    before_encrypted(top().packets.type());
    seen.encrypted = true;
    if (!rules.decrypt)
      throw error(errc::cannot_decrypt, {.what = "the package is encrypted",
                                         .why = "the policy refuses encrypted packages",
                                         .remedy = "use a package that is only signed, or change the policy"});
    packet_reader& outer = top().packets;
    const container_header header = read_container_header(outer);
    seen.protection = describe_protection(header);
    if (header.is_aead()) seen.cipher = name(header.cipher);
    const session_key key = recipients.choose(header);
    if (!header.is_aead()) cipher = key.cipher;
    auto opened = decrypt(outer, header, key);
    auto inner = std::make_unique<layer>(any_reader(by_reference(*opened)));
    inner->decryptor = std::move(opened);
    push(std::move(inner));
    encrypted = true;
  }

  [[noreturn]] static void refuse_unprotected() {
    throw error(errc::tampered,
                {.what = "the encrypted content has no integrity protection",
                 .why = "it is a packet of the old form, or was made to look like one",
                 .remedy = "have it encrypted with a current program and a key with current preferences"});
  }

  [[noreturn]] void end_without_content() const {
    if (layers.size() > 1 && packets_seen == 0) bad("a container is empty");
    if (signatures_seen) bad("it has signatures and nothing that they sign; a detached signature is no package");
    ends_early("no content has come");
  }

  // Format, name and date of the literal are covered by no signature: they are read over and used for nothing.
  void read_literal_header() {
    std::array<std::byte, 2> head{};
    std::array<std::byte, 255 + 4> name_and_date{};
    packet_reader& literal = top().packets;
    if (read_full(literal, head) < head.size()) bad("a literal data packet ends inside its header");
    if (std::string_view("btul1m").find(static_cast<char>(head[0])) == std::string_view::npos)
      bad("a literal data packet has an unknown format");
    const std::size_t rest = std::to_integer<std::size_t>(head[1]) + 4;
    if (read_full(literal, byte_span(name_and_date).first(rest)) < rest)
      bad("a literal data packet ends inside its header");
  }

  // ---- Up again ----

  // Signatures, then the end of every container: only then is it known that nothing was changed and nothing follows.
  void ascend() {
    read_signatures();
    for (;;) {
      expect_end();
      if (layers.size() == 1) break;
      leave_container();
    }
    proof.emplace(verification_access::make(result.conclude(), encrypted, size));
    // Not before: the cipher of a session key that opened nothing is made up, and nobody is to learn which do.
    if (cipher) seen.cipher = name(*cipher);
  }

  void read_signatures() {
    for (std::size_t left = result.one_pass_count(); left > 0;) {
      const auto type = next_after_content();
      if (!type)
        throw error(errc::no_signature, {.what = "a signature is missing",
                                         .why = "it was announced in front of the content and does not follow it",
                                         .remedy = "the file was cut or changed; fetch it again"});
      if (*type == packet_type::signature) {
        result.check(top().packets.read_body(max_small_packet));
        --left;
      } else {
        skip_or_refuse(*type);
      }
    }
  }

  void expect_end() {
    while (const auto type = next_after_content()) {
      if (*type == packet_type::literal_data) bad("it has more than one content");
      skip_or_refuse(*type);
    }
  }

  std::optional<packet_type> next_after_content() {
    // gosop ends a binary message with a line feed.
    if (layers.size() == 1 && binary) {
      buffered_reader& rest = top().packets.source();
      const std::string_view text = as_text(rest.peek(3));
      if (text == "\n" || text == "\r\n") rest.skip(text.size());
    }
    return top().packets.next();
  }

  void leave_container() {
    const bool was_compressed = top().compressed;
    layers.pop_back();
    // Octets behind the end of the compressed data are padding (sq makes such).
    if (was_compressed) skip();
  }

  // ---- Helpers ----

  layer& top() noexcept { return *layers.back(); }
  void push(std::unique_ptr<layer> l) {
    layers.push_back(std::move(l));
    packets_seen = 0;
  }

  void skip() {
    const std::uint64_t allowed = skipped_allowance + size / 4;
    if (skipped > allowed) too_large("it has more padding than content", "have it made anew, without");
    skipped += top().packets.skip_body(allowed - skipped);
    ++skipped;  // packets without a body are not for free either
  }

  void skip_or_refuse(packet_type type) {
    if (type == packet_type::marker || type == packet_type::padding || !is_critical(type)) return skip();
    if (type == packet_type::public_key || type == packet_type::secret_key) bad("it is a key");
    bad("a " + describe(type) + " stands where none may be");
  }

  // What goes wrong inside of encrypted data must not tell anything about them unless they are proven to be unchanged:
  // else error messages would decrypt for whoever can send us packages. So the rest is read first.
  error settle(const error& e) {
    const error translated = translate(e);
    const auto sealed =
        std::find_if(layers.begin(), layers.end(), [](const auto& l) { return l->decryptor != nullptr; });
    if (sealed == layers.end() || (*sealed)->decryptor->proves_first()) return translated;
    const int code = static_cast<int>(translated.code());
    if (code < 2000 || code >= 2100) return translated;  // the system's failure, or the caller's
    try {
      byte_vector scratch(64 * 1024);
      for (std::uint64_t drained = 0; drained <= rules.max_content;) {
        const std::size_t n = (*sealed)->decryptor->read(scratch);
        if (n == 0) return translated;
        drained += n;
      }
      return translated;
    } catch (const error& found) {
      return found;
    }
  }

  // A decompressor knows nothing of OpenPGP; its failures are the message's.
  error translate(const error& e) const {
    if (e.code() != errc::malformed && e.code() != errc::too_large) return e;
    const bool ended = std::any_of(layers.begin(), layers.end(), [](const auto& l) { return l->body_ended; });
    if (ended)
      return error(errc::truncated, {.what = "the package ends too early or is damaged",
                                     .why = "its compressed data end before they are complete",
                                     .remedy = "get it again from its source"});
    return error(errc::bad_message, {.what = "the package is damaged",
                                     .why = e.parts().what + ": " + e.parts().why,
                                     .remedy = "get it again from its source"});
  }

  message_info info() const {
    message_info all = seen;
    all.recipients = recipients.seen();
    all.signatures = result.signatures();
    return all;
  }

  keyring keys;
  policy rules;
  any_reader source;
  verdict result;
  session_keys recipients;

  std::vector<std::unique_ptr<layer>> layers;  // each reads from the one before it
  bool binary = false, encrypted = false, signatures_seen = false, in_content = false;
  std::size_t compressed = 0;
  std::size_t packets_seen = 0;  // in the topmost layer
  std::uint64_t skipped = 0;     // octets
  std::uint64_t size = 0;        // of the content
  message_info seen;
  std::optional<symmetric_algorithm> cipher;  // that the session key names
  std::exception_ptr failure;
  std::optional<verification> proof;
};

message_reader::message_reader(any_reader message, keyring keys, policy rules)
    : impl_(std::make_unique<impl>(std::move(message), std::move(keys), std::move(rules))) {}
message_reader::message_reader(message_reader&&) noexcept = default;
message_reader& message_reader::operator=(message_reader&&) noexcept = default;
message_reader::~message_reader() = default;

std::size_t message_reader::read(byte_span room) { return impl_->read(room); }

message_info message_reader::info() const { return impl_->info(); }

verification message_reader::finish() {
  if (!impl_->proof) {
    byte_vector scratch(256 * 1024);
    while (impl_->read(scratch) > 0) {
    }
  }
  return impl_->proof.value();
}

verification verify(any_reader message, const keyring& keys, const policy& rules) {
  return message_reader(std::move(message), keys, rules).finish();
}

}  // namespace fussy::openpgp
