// Packets: in memory and over a stream the same packets are found; what is found can be written and found again.
#include "openpgp/packet.hpp"

#include <vector>

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

struct found {
  packet_type type;
  byte_vector body;
  bool operator==(const found&) const = default;
};

struct dripping_reader {
  byte_view rest;
  std::size_t step;
  std::size_t read(byte_span room) {
    const std::size_t n = std::min({room.size(), rest.size(), step});
    std::copy_n(rest.begin(), n, room.begin());
    rest = rest.subspan(n);
    return n;
  }
};

errc stream(byte_view octets, std::size_t step, std::size_t room, std::vector<found>& out) {
  return fuzz::refusal_of([&] {
    packet_reader reader{any_reader(dripping_reader{octets, step})};
    byte_vector part(room);
    while (const auto type = reader.next()) {
      out.push_back({*type, {}});
      while (const std::size_t n = reader.read(part))
        out.back().body.insert(out.back().body.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const byte_view octets = as_bytes(data, size);
  std::vector<found> large, small, memory;
  const errc code = stream(octets, 65536, 65536, large);
  fuzz::require(code == stream(octets, 3, 7, small), "the code depends on the size of reads");
  if (code == errc::success) fuzz::require(large == small, "the packets depend on the size of reads");

  const errc in_memory = fuzz::refusal_of([&] {
    packet_sequence packets(octets);
    while (const auto p = packets.next()) memory.push_back({p->type, {p->body.begin(), p->body.end()}});
  });
  if (in_memory != errc::success) return 0;  // partial and indeterminate lengths are for streams alone
  fuzz::require(code == errc::success && memory == large, "memory and stream differ");

  byte_vector written;
  for (const found& f : memory) append_packet(written, f.type, f.body);
  std::vector<found> again;
  fuzz::require(stream(written, 65536, 65536, again) == errc::success && again == memory,
                "it cannot be written and read again");
  return 0;
}
