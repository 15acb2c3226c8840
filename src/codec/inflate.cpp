// Deflate streams and the frames around them: raw (RFC 1951), zlib (RFC 1950), gzip (RFC 1952).
#include "inflate.hpp"

#include "decompress.hpp"

namespace fussy::codec {

namespace {

class inflate_reader {
public:
  inflate_reader(input in, format f, trailing t) : in_(std::move(in)), format_(f), trailing_(t) {}

  std::size_t read(byte_span room) {
    while (state_ != state::ended) {
      if (state_ == state::header) read_header();
      if (const std::size_t n = inflate_into(room)) return n;
    }
    return 0;
  }

private:
  enum class state { header, body, trailer, ended };

  const char* name() const noexcept {
    return format_ == format::gzip ? "gzip" : format_ == format::zlib ? "zlib" : "deflate";
  }

  // At the end of a member its checksum is looked at before anything else is read.
  std::size_t inflate_into(byte_span room) {
    if (state_ == state::trailer) {
      read_trailer();
      return 0;
    }
    const byte_view have = in_.peek();
    const inflater::step s = engine_.run(have, room);
    in_.consume(s.taken);
    if (s.damaged) damaged(name(), "the data is damaged");
    if (format_ == format::gzip) sum_ = crc32(sum_, room.first(s.made));
    if (format_ == format::zlib) sum_ = adler32(sum_, room.first(s.made));
    size_ += static_cast<std::uint32_t>(s.made);
    if (s.end) {
      in_.give_back(engine_.unused());
      state_ = state::trailer;
    } else if (s.taken == 0 && s.made == 0) {
      have.empty() ? ends_too_early(name()) : damaged(name(), "the data is damaged");
    }
    return s.made;
  }

  void read_header() {
    if (format_ == format::gzip) read_gzip_header();
    if (format_ == format::zlib) read_zlib_header();
    size_ = 0;
    sum_ = format_ == format::zlib ? 1 : 0;
    state_ = state::body;
  }

  void read_gzip_header() {
    enum : unsigned { has_crc = 2, has_extra = 4, has_name = 8, has_comment = 16, reserved = 0xe0 };
    sum_ = 0;
    if (header_octet() != 0x1f || header_octet() != 0x8b) damaged(name(), "it has no gzip header");
    if (header_octet() != 8) damaged(name(), "it is compressed with an unknown method");
    const unsigned flags = header_octet();
    if (flags & reserved) damaged(name(), "its header has unknown flags");
    for (int i = 0; i < 6; ++i) header_octet();  // time, hints, system: of no use to us
    if (flags & has_extra) {
      unsigned length = header_octet();
      length |= header_octet() << 8;
      while (length-- > 0) header_octet();
    }
    if (flags & has_name) skip_text();
    if (flags & has_comment) skip_text();
    if (flags & has_crc) {
      const std::uint32_t expected = sum_ & 0xffff;
      std::uint32_t found = header_octet();
      found |= header_octet() << 8;
      if (found != expected) damaged(name(), "the checksum of its header is wrong");
    }
  }
  void skip_text() {
    while (header_octet() != 0) {
    }
  }
  unsigned header_octet() {
    std::uint8_t octet = 0;
    if (!in_.next(octet)) ends_too_early(name());
    const std::byte b{octet};
    sum_ = crc32(sum_, {&b, 1});
    return octet;
  }

  void read_zlib_header() {
    const unsigned cmf = header_octet(), flg = header_octet();
    if ((cmf << 8 | flg) % 31 != 0 || (cmf & 15) != 8 || cmf >> 4 > 7) damaged(name(), "it has no zlib header");
    if (flg & 0x20) damaged(name(), "it needs a preset dictionary");
  }

  void read_trailer() {
    if (format_ == format::gzip) {
      if (trailer_number(false) != sum_) damaged(name(), "its checksum is wrong");
      if (trailer_number(false) != size_) damaged(name(), "its size is wrong");
    }
    if (format_ == format::zlib && trailer_number(true) != sum_) damaged(name(), "its checksum is wrong");
    const bool more = another_follows(
        in_, trailing_, name(), [&](byte_view head) { return format_ == format::gzip && sniff(head) == format::gzip; });
    if (more) engine_.reset();
    state_ = more ? state::header : state::ended;
  }
  std::uint32_t trailer_number(bool big_endian) {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      std::uint8_t octet = 0;
      if (!in_.next(octet)) ends_too_early(name());
      value |= std::uint32_t{octet} << 8 * (big_endian ? 3 - i : i);
    }
    return value;
  }

  input in_;
  inflater engine_;
  format format_;
  trailing trailing_;
  state state_ = state::header;
  std::uint32_t sum_ = 0;   // of the header, then of the content
  std::uint32_t size_ = 0;  // of the content, modulo 2^32 as gzip counts
};

}  // namespace

any_reader inflate_from(input in, format f, trailing t) { return inflate_reader(std::move(in), f, t); }

}  // namespace fussy::codec
