/// @file codec.hpp  Decompression and compression as bounded reader and writer adaptors.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error (malformed, truncated input is malformed too); std::bad_alloc.
/// Memory:  fixed buffers, whatever the input claims (zstd: window of at most 8 MiB, more is refused).
#pragma once

#include <fussy/io.hpp>

#include <memory>
#include <optional>

namespace fussy::codec {

enum class format {
  none,
  deflate,  ///< raw, RFC 1951 (OpenPGP "ZIP")
  zlib,     ///< RFC 1950
  gzip,     ///< RFC 1952, one member or more
  bzip2,
  zstd,  ///< RFC 8878, one frame or more
};

/// What follows the end of the compressed stream.
enum class trailing {
  refuse,  ///< anything but zero padding is malformed; a further gzip member, bzip2 stream or zstd frame continues the
           ///< data
  ignore,  ///< is not looked at (padding inside an OpenPGP compressed packet)
};

/// The format whose magic number `head` begins with; needs 6 octets to be sure. Raw deflate has none: never found.
std::optional<format> sniff(byte_view head) noexcept;

/// Adaptor: octets of `compressed` in, octets of what was compressed out.
class decompress {
public:
  using reader_adaptor = void;
  explicit decompress(format f, trailing t = trailing::refuse) noexcept : format_(f), trailing_(t) {}
  any_reader operator()(any_reader compressed) const;

private:
  format format_;
  trailing trailing_;
};

/// Adaptor that looks at the magic number: gzip, bzip2, zstd; anything else is refused as `malformed`.
class decompress_any {
public:
  using reader_adaptor = void;
  any_reader operator()(any_reader compressed) const;
};

/// Writer that compresses into another, gzip and zstd on all cores (threads of its own, gone with it; `to` is only
/// called from the caller's thread). Call finish() once, after the last write; without it the output is cut. The same
/// input gives the same output on every run (gzip: no name, no time).
class compressor {
public:
  /// @param level  1 to 9, of zstd to 22; 0 picks the format's default. @throws usage  it is none of these
  compressor(any_writer to, format f, int level = 0);
  compressor(compressor&&) noexcept;
  compressor& operator=(compressor&&) noexcept;
  ~compressor();
  void write(byte_view bytes);
  void finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace fussy::codec
