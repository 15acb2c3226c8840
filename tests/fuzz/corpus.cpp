// Runs a fuzz target over files that are stored: the ordinary test of it, with any compiler.
// usage: TARGET DIRECTORY...
#include <fussy/io.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  std::size_t files = 0;
  for (int i = 1; i < argc; ++i)
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      const fussy::byte_vector input = fussy::read_all(fussy::file_reader(entry.path()));
      LLVMFuzzerTestOneInput(fussy::as_uint8(fussy::byte_view(input)), input.size());
      ++files;
    }
  std::printf("%zu inputs\n", files);
  return files == 0 ? 1 : 0;
}
