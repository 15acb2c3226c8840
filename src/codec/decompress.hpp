/// @file decompress.hpp  What the decompressors share: their words for damage, and what may follow a stream.
#pragma once

#include <fussy/codec.hpp>

#include <string>

#include "input.hpp"

namespace fussy::codec {

any_reader inflate_from(input in, format f, trailing t);
any_reader bzip2_from(input in, trailing t);
any_reader zstd_from(input in, trailing t);

[[noreturn]] void damaged(const char* format_name, const char* why);
[[noreturn]] inline void ends_too_early(const char* format_name) { damaged(format_name, "it ends too early"); }

/// Whether another member follows one that ended: yes when `is_magic` knows the next octets. Else only zeros may
/// follow, as tapes and block devices leave them, and are read to the end.
template <class IsMagic>
bool another_follows(input& in, trailing t, const char* format_name, IsMagic is_magic) {
  if (t == trailing::ignore) return false;
  const input::head head = in.look(4);
  if (head.size == 0) return false;
  if (is_magic(byte_view(head))) return true;
  for (byte_view rest = in.peek(); !rest.empty(); in.consume(rest.size()), rest = in.peek())
    for (std::byte b : rest)
      if (b != std::byte{0}) damaged(format_name, "something else follows its end");
  return false;
}

}  // namespace fussy::codec
