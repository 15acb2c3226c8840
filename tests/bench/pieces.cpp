// One piece of the road at a time, for the benchmarks: timed from outside, or counted by callgrind.
//   pieces verify KEYS PACKAGE      proof of a message, decryption where it is encrypted
//   pieces inflate FILE             decompression alone
//   pieces unpack FILE DIRECTORY [SHARE_WITH]
//   pieces compress FORMAT FILE     gzip, zstd
#include <sys/stat.h>
#include <fussy/archive.hpp>
#include <fussy/codec.hpp>
#include <fussy/openpgp.hpp>

#include <cstdio>
#include <string>
#include <vector>

using namespace fussy;

namespace {

struct nowhere {
  void write(byte_view) const noexcept {}
};

std::uint64_t drain(any_reader from) {
  nowhere to;
  return copy(from, to);
}

any_reader file(const std::string& path) { return file_reader(std::filesystem::path(path)); }

std::uint64_t unpack(const std::vector<std::string>& words) {
  mkdir(words.at(2).c_str(), 0700);
  archive::extract_options opts{.limit = {.max_ratio = 0}};
  unique_fd share;
  if (words.size() > 3) {
    share = open_file(words[3], O_RDONLY | O_DIRECTORY);
    opts.share_with = share.get();
  }
  return archive::extract(file(words.at(1)), open_file(words[2], O_RDONLY | O_DIRECTORY), opts).bytes;
}

std::uint64_t compress(const std::vector<std::string>& words) {
  const auto f = words.at(1) == "zstd" ? codec::format::zstd : codec::format::gzip;
  codec::compressor to(nowhere{}, f);
  any_reader from = file(words.at(2));
  const std::uint64_t size = copy(from, to);
  to.finish();
  return size;
}

std::uint64_t run(const std::vector<std::string>& words) {
  const std::string& piece = words.at(0);
  if (piece == "verify")
    return openpgp::verify(file(words.at(2)) | read_ahead{}, openpgp::keyring::load(words.at(1))).content_size();
  if (piece == "inflate") return drain(codec::decompress_any()(file(words.at(1))));
  if (piece == "unpack") return unpack(words);
  if (piece == "compress") return compress(words);
  throw error(errc::usage, "no piece of this name: " + piece);
}

}  // namespace

int main(int count, char** words) try {
  std::printf("%llu bytes\n", static_cast<unsigned long long>(run({words + 1, words + count})));
  return 0;
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return exit_status(e.code());
} catch (const std::out_of_range&) {
  std::fprintf(stderr, "usage: see the head of tests/bench/pieces.cpp\n");
  return exit_status(errc::usage);
}
