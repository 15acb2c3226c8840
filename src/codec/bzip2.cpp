// bzip2 streams, one after the other as `cat` makes them.
#include <bzlib.h>

#include <algorithm>
#include <new>

#include "decompress.hpp"

namespace fussy::codec {

namespace {

class bzip2_reader {
public:
  bzip2_reader(input in, trailing t) : in_(std::move(in)), stream_(std::make_unique<stream>()), trailing_(t) {}

  std::size_t read(byte_span room) {
    while (stream_) {
      if (const std::size_t n = decompress_into(room)) return n;
      if (!complete_) continue;
      stream_.reset();
      const auto is_magic = [](byte_view head) { return sniff(head) == format::bzip2; };
      if (another_follows(in_, trailing_, "bzip2", is_magic)) stream_ = std::make_unique<stream>();
      complete_ = false;
    }
    return 0;
  }

private:
  struct stream {
    stream() {
      if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK) throw std::bad_alloc();
    }
    ~stream() { BZ2_bzDecompressEnd(&z); }
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    bz_stream z = {};
  };

  std::size_t decompress_into(byte_span room) {
    if (complete_) return 0;
    const byte_view have = in_.peek();
    const unsigned size = static_cast<unsigned>(std::min<std::size_t>(room.size(), 1U << 30));
    bz_stream& z = stream_->z;
    z.next_in = const_cast<char*>(reinterpret_cast<const char*>(have.data()));
    z.avail_in = static_cast<unsigned>(have.size());
    z.next_out = reinterpret_cast<char*>(room.data());
    z.avail_out = size;
    const int status = BZ2_bzDecompress(&z);
    in_.consume(have.size() - z.avail_in);
    const std::size_t made = size - z.avail_out;
    if (status == BZ_MEM_ERROR) throw std::bad_alloc();
    if (status != BZ_OK && status != BZ_STREAM_END) damaged("bzip2", "the data is damaged");
    complete_ = status == BZ_STREAM_END;
    if (!complete_ && made == 0 && have.empty()) ends_too_early("bzip2");
    return made;
  }

  input in_;
  std::unique_ptr<stream> stream_;
  trailing trailing_;
  bool complete_ = false;
};

}  // namespace

any_reader bzip2_from(input in, trailing t) { return bzip2_reader(std::move(in), t); }

}  // namespace fussy::codec
