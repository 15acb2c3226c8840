// Keyboxes: every key block that is found lies in the file, and damage is named.
#include "openpgp/keybox.hpp"

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const byte_view file = as_bytes(data, size);
  is_keybox(file);
  const keybox_contents contents = read_keybox(file);
  for (const byte_view block : contents.blocks)
    fuzz::require(block.data() >= file.data() && block.data() + block.size() <= file.data() + file.size(),
                  "a key block outside of the file");
  return 0;
}
