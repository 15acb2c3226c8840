// The C++ library: something compiled (codec) and something header-only (io).
#include <fussy/fussy.hpp>

#include <cstdio>

int main() {
  using namespace fussy;
  byte_vector packed;
  {
    codec::compressor out(any_writer(vector_writer(packed)), codec::format::gzip);
    out.write(as_bytes("a host program"));
    out.finish();
  }
  const byte_vector plain = read_all(memory_reader(byte_view(packed)) | codec::decompress_any());
  if (as_text(plain) != "a host program") return 1;
  std::puts("fussy++");
  return 0;
}
