/// @file inflate.hpp  Seam to the two inflate engines: zlib, and ISA-L where it was found when the build was set up.
/// Raw deflate only (RFC 1951): the frames around it are ours, so both engines take and refuse the same files.
#pragma once

#include <fussy/bytes.hpp>

#include <cstdint>
#include <memory>

namespace fussy::codec {

class inflater {
public:
  struct step {
    std::size_t taken = 0;  ///< octets of the input that are used up
    std::size_t made = 0;   ///< octets written to the output
    bool end = false;       ///< the last block is complete; see unused()
    bool damaged = false;
  };

  inflater();
  ~inflater();
  inflater(inflater&&) noexcept;
  inflater& operator=(inflater&&) noexcept;

  /// Begins a new stream.
  void reset();
  /// As far as input and output reach. `in` is empty only at the end of the file: no progress then means truncated.
  step run(byte_view in, byte_span out);
  /// After the end: whole octets that were taken but do not belong to the stream, at most 8.
  byte_view unused() const noexcept;

private:
  struct engine;
  std::unique_ptr<engine> engine_;
};

/// CRC-32 of RFC 1952 and Adler-32 of RFC 1950, continued from `sum`.
std::uint32_t crc32(std::uint32_t sum, byte_view bytes) noexcept;
std::uint32_t adler32(std::uint32_t sum, byte_view bytes) noexcept;
/// Name of the engine: "zlib" or "ISA-L".
const char* inflate_engine() noexcept;

}  // namespace fussy::codec
