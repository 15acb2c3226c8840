// Compression. Nothing of the machine or the hour goes into the output.
#include <bzlib.h>
#include <zlib.h>
#include <zstd.h>
#include <fussy/codec.hpp>

#include <algorithm>
#include <new>
#include <string>

#include "parallel_gzip.hpp"

namespace fussy::codec {

namespace {

constexpr std::size_t block = 128 * 1024;

struct encoder {
  virtual ~encoder() = default;
  virtual void write(byte_view bytes) = 0;
  virtual void finish() = 0;
};

class copying_encoder final : public encoder {
public:
  explicit copying_encoder(any_writer to) : to_(std::move(to)) {}
  void write(byte_view bytes) override { to_.write(bytes); }
  void finish() override {}

private:
  any_writer to_;
};

class deflate_encoder final : public encoder {
public:
  deflate_encoder(any_writer to, format f, int level) : to_(std::move(to)), out_(block) {
    const int bits = f == format::zlib ? MAX_WBITS : -MAX_WBITS;
    if (deflateInit2(&z_, level == 0 ? Z_DEFAULT_COMPRESSION : std::clamp(level, 1, 9), Z_DEFLATED, bits, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  ~deflate_encoder() override { deflateEnd(&z_); }
  deflate_encoder(const deflate_encoder&) = delete;
  deflate_encoder& operator=(const deflate_encoder&) = delete;

  void write(byte_view bytes) override {
    while (!bytes.empty()) {
      const byte_view part = bytes.first(std::min(bytes.size(), block));
      z_.next_in = const_cast<Bytef*>(as_uint8(part));
      z_.avail_in = static_cast<uInt>(part.size());
      while (z_.avail_in > 0) run(Z_NO_FLUSH);
      bytes = bytes.subspan(part.size());
    }
  }
  void finish() override {
    while (run(Z_FINISH) != Z_STREAM_END) {
    }
  }

private:
  int run(int flush) {
    z_.next_out = as_uint8(byte_span(out_));
    z_.avail_out = static_cast<uInt>(out_.size());
    const int status = deflate(&z_, flush);
    if (const std::size_t made = out_.size() - z_.avail_out) to_.write(byte_view(out_).first(made));
    return status;
  }
  any_writer to_;
  byte_vector out_;
  z_stream z_ = {};
};

class gzip_encoder final : public encoder {
public:
  gzip_encoder(any_writer to, int level)
      : gzip_(std::move(to), level == 0 ? Z_DEFAULT_COMPRESSION : std::clamp(level, 1, 9)) {}
  void write(byte_view bytes) override { gzip_.write(bytes); }
  void finish() override { gzip_.finish(); }

private:
  parallel_gzip gzip_;
};

class bzip2_encoder final : public encoder {
public:
  bzip2_encoder(any_writer to, int level) : to_(std::move(to)), out_(block) {
    if (BZ2_bzCompressInit(&z_, level == 0 ? 9 : std::clamp(level, 1, 9), 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  ~bzip2_encoder() override { BZ2_bzCompressEnd(&z_); }
  bzip2_encoder(const bzip2_encoder&) = delete;
  bzip2_encoder& operator=(const bzip2_encoder&) = delete;

  void write(byte_view bytes) override {
    while (!bytes.empty()) {
      const byte_view part = bytes.first(std::min(bytes.size(), block));
      z_.next_in = const_cast<char*>(reinterpret_cast<const char*>(part.data()));
      z_.avail_in = static_cast<unsigned>(part.size());
      while (z_.avail_in > 0) run(BZ_RUN);
      bytes = bytes.subspan(part.size());
    }
  }
  void finish() override {
    while (run(BZ_FINISH) != BZ_STREAM_END) {
    }
  }

private:
  int run(int action) {
    z_.next_out = reinterpret_cast<char*>(out_.data());
    z_.avail_out = static_cast<unsigned>(out_.size());
    const int status = BZ2_bzCompress(&z_, action);
    if (const std::size_t made = out_.size() - z_.avail_out) to_.write(byte_view(out_).first(made));
    return status;
  }
  any_writer to_;
  byte_vector out_;
  bz_stream z_ = {};
};

class zstd_encoder final : public encoder {
public:
  zstd_encoder(any_writer to, int level)
      : to_(std::move(to)), out_(ZSTD_CStreamOutSize()), context_(ZSTD_createCCtx()) {
    if (!context_) throw std::bad_alloc();
    set(ZSTD_c_compressionLevel, level == 0 ? 9 : std::clamp(level, 1, ZSTD_maxCLevel()));
    set(ZSTD_c_checksumFlag, 1);
    if (level > 19) set(ZSTD_c_windowLog, 23);  // what every decoder, ours too, must support
    // One worker and many give the same octets, none gives others: so always one or more, where the library can.
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_nbWorkers, 2);
  }
  void write(byte_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) run(in, ZSTD_e_continue);
  }
  void finish() override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    while (run(in, ZSTD_e_end) != 0) {
    }
  }

private:
  struct free_context {
    void operator()(ZSTD_CCtx* c) const noexcept { ZSTD_freeCCtx(c); }
  };
  void set(ZSTD_cParameter parameter, int value) { check(ZSTD_CCtx_setParameter(context_.get(), parameter, value)); }
  static std::size_t check(std::size_t status) {
    if (ZSTD_isError(status))
      throw error(errc::failure, failure_parts{.what = "cannot compress with zstd", .why = ZSTD_getErrorName(status)});
    return status;
  }
  std::size_t run(ZSTD_inBuffer& in, ZSTD_EndDirective directive) {
    ZSTD_outBuffer out{out_.data(), out_.size(), 0};
    const std::size_t left = check(ZSTD_compressStream2(context_.get(), &out, &in, directive));
    if (out.pos > 0) to_.write(byte_view(out_).first(out.pos));
    return left;
  }
  any_writer to_;
  byte_vector out_;
  std::unique_ptr<ZSTD_CCtx, free_context> context_;
};

void check_level(format f, int level) {
  const int highest = f == format::zstd ? ZSTD_maxCLevel() : 9;
  if (level < 0 || level > highest)
    throw error(errc::usage, {.what = "cannot compress at level " + std::to_string(level),
                              .why = "levels are 1 to " + std::to_string(highest),
                              .remedy = "give one of these, or 0 for the usual one"});
}

std::unique_ptr<encoder> make_encoder(any_writer to, format f, int level) {
  check_level(f, level);
  switch (f) {
    case format::none:
      return std::make_unique<copying_encoder>(std::move(to));
    case format::gzip:
      return std::make_unique<gzip_encoder>(std::move(to), level);
    case format::bzip2:
      return std::make_unique<bzip2_encoder>(std::move(to), level);
    case format::zstd:
      return std::make_unique<zstd_encoder>(std::move(to), level);
    default:
      return std::make_unique<deflate_encoder>(std::move(to), f, level);
  }
}

}  // namespace

struct compressor::impl {
  std::unique_ptr<encoder> encode;
};

compressor::compressor(any_writer to, format f, int level)
    : impl_(std::make_unique<impl>(impl{make_encoder(std::move(to), f, level)})) {}
compressor::compressor(compressor&&) noexcept = default;
compressor& compressor::operator=(compressor&&) noexcept = default;
compressor::~compressor() = default;
void compressor::write(byte_view bytes) { impl_->encode->write(bytes); }
void compressor::finish() { impl_->encode->finish(); }

}  // namespace fussy::codec
