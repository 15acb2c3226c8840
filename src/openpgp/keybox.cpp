#include "keybox.hpp"

namespace fussy::openpgp {
namespace {

enum class blob_type : std::uint8_t { empty = 0, header = 1, openpgp = 2, x509 = 3 };

constexpr std::size_t min_blob = 20;
constexpr unsigned flag_ephemeral = 2;  // of a key that was looked up, not imported

/// The key block of an OpenPGP blob. @throws bad_message
byte_view key_block(byte_view blob) {
  cursor in(blob, "keybox blob");
  in.take(8);
  const std::size_t offset = in.u32(), length = in.u32();
  if (offset > blob.size() || length > blob.size() - offset) in.fail();
  return blob.subspan(offset, length);
}

bool is_ephemeral(byte_view blob) { return (load_be(blob.subspan(6, 2)) & flag_ephemeral) != 0; }

}  // namespace

bool is_keybox(byte_view file) noexcept { return file.size() >= 32 && as_text(file.subspan(8, 4)) == "KBXf"; }

keybox_contents read_keybox(byte_view file) {
  keybox_contents contents;
  std::size_t number = 0;
  for (byte_view rest = file; !rest.empty(); ++number) {
    const std::size_t size = rest.size() < 4 ? 0 : static_cast<std::size_t>(load_be(rest.first(4)));
    if (size == 0 && rest.size() >= 4) break;  // padding behind the last blob
    if (size < min_blob || size > rest.size()) {
      contents.damage = "blob " + std::to_string(number) + " is damaged or cut off";
      break;
    }
    const byte_view blob = rest.first(size);
    rest = rest.subspan(size);
    if (static_cast<blob_type>(blob[4]) != blob_type::openpgp || is_ephemeral(blob)) continue;
    try {
      contents.blocks.push_back(key_block(blob));
    } catch (const error&) {
      contents.damage = "the key block of blob " + std::to_string(number) + " does not lie in it";
    }
  }
  return contents;
}

}  // namespace fussy::openpgp
