// Finding the format, and the adaptors that pick a decompressor.
#include <fussy/codec.hpp>

#include <array>

#include "decompress.hpp"

namespace fussy::codec {

void damaged(const char* format_name, const char* why) {
  throw error(errc::malformed, failure_parts{.what = std::string("cannot decompress ") + format_name + " data",
                                             .why = why,
                                             .remedy = "fetch or build the file again"});
}

std::optional<format> sniff(byte_view head) noexcept {
  const auto starts_with = [&](auto... octets) {
    const std::array<std::uint8_t, sizeof...(octets)> magic{static_cast<std::uint8_t>(octets)...};
    return head.size() >= magic.size() && std::equal(magic.begin(), magic.end(), as_uint8(head));
  };
  if (starts_with(0x1f, 0x8b)) return format::gzip;
  if (starts_with('B', 'Z', 'h')) return format::bzip2;
  if (starts_with(0x28, 0xb5, 0x2f, 0xfd)) return format::zstd;
  return std::nullopt;
}

namespace {

any_reader decompress_from(input in, format f, trailing t) {
  switch (f) {
    case format::bzip2:
      return bzip2_from(std::move(in), t);
    case format::zstd:
      return zstd_from(std::move(in), t);
    default:
      return inflate_from(std::move(in), f, t);
  }
}

// Looks at the magic number when it is first read, not when it is composed.
class sniffing_reader {
public:
  explicit sniffing_reader(any_reader compressed) : in_(std::move(compressed)) {}

  std::size_t read(byte_span room) {
    if (!inner_) open();
    return inner_.read(room);
  }

private:
  void open() {
    const input::head head = in_.look(6);
    const std::optional<format> f = sniff(head);
    if (!f)
      throw error(errc::malformed,
                  failure_parts{.what = "cannot decompress the data",
                                .why = head.size == 0 ? "it is empty" : "it is neither gzip nor bzip2 nor zstd",
                                .remedy = "build the file again, as a .tar.gz, .tar.bz2 or .tar.zst"});
    inner_ = decompress_from(std::move(in_), *f, trailing::refuse);
  }
  input in_;
  any_reader inner_;
};

}  // namespace

any_reader decompress::operator()(any_reader compressed) const {
  if (format_ == format::none) return compressed;
  return decompress_from(input(std::move(compressed)), format_, trailing_);
}

any_reader decompress_any::operator()(any_reader compressed) const { return sniffing_reader(std::move(compressed)); }

}  // namespace fussy::codec
