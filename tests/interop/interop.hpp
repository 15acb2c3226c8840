// What the interoperability tests share: reading what another program has written, and a directory of its keys.
#pragma once

#include <doctest/doctest.h>

#include <fussy/openpgp.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "../openpgp/packages.hpp"
#include "support/program.hpp"
#include "support/temporary_directory.hpp"

namespace test {

inline void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

inline std::string read_file(const std::filesystem::path& path) {
  const byte_vector all = fussy::read_all(fussy::file_reader(path));
  return std::string(fussy::as_text(all));
}

/// What a package may hold: text, zeros, noise; a little over 100 kB, so that partial lengths and chunks come up.
inline std::string sample_content() {
  std::string text = "text\r\nwith\nboth line ends\r\n" + std::string(5000, '\0');
  std::uint32_t state = 7;
  while (text.size() < 101'000) {
    state = state * 1664525 + 1013904223;
    text += static_cast<char>(state >> 24);
  }
  return text;
}

/// The message is proven, gives `content`, and was encrypted or not.
inline void check_package(std::string_view message, const fussy::openpgp::keyring& ring, std::string_view content,
                          bool encrypted, const std::string& what) {
  CAPTURE(what);
  const result r = read(message, ring);
  CHECK_MESSAGE(r.message == "", r.message);
  CHECK(r.content == content);
  CHECK(r.signers.size() == 1);
  CHECK(r.encrypted == encrypted);
}

/// Not one octet of it can be changed: a sample of positions, and its end cut off (armor may lack its last line feed).
inline void check_fragile(const std::string& message, const fussy::openpgp::keyring& ring, std::string_view content) {
  for (std::size_t i = 1; i < 12; ++i) {
    std::string bad = message;
    bad[bad.size() * i / 12] = static_cast<char>(bad[bad.size() * i / 12] ^ 4);
    const result r = read(bad, ring);
    CHECK((r.code != fussy::errc::success || r.content == content));
    if (r.code != fussy::errc::success) CHECK(fussy::exit_status(r.code) == 20);
  }
  CHECK(read(message.substr(0, message.size() - 2), ring).code != fussy::errc::success);
}

}  // namespace test
