// archive: what a hostile or careless archive may try. Each attack is refused with exit status 21, and nothing beside
// the directory that was unpacked into has changed.
#include <doctest/doctest.h>

#include <random>

#include "archive/names.hpp"
#include "fixture.hpp"
#include "support/skip.hpp"

using namespace fussy;
using namespace test;

namespace {

// Refused with this code, and nothing outside has changed.
void refused(errc code, const workplace& w, const tar_builder& tar, const archive::extract_options& opts = {}) {
  CHECK(w.refusal(tar, opts) == code);
  CHECK(exit_status(code) == 21);
  CHECK(w.outside_unchanged());
}

tar_builder version() { return tar_builder().directory("v/"); }

}  // namespace

TEST_SUITE_BEGIN("archive");

TEST_CASE("attack: an entry with an absolute name") {
  const workplace w;
  refused(errc::entry_refused, w, version().file("/etc/fussy-attack", "x"));
  refused(errc::entry_refused, w, version().file((w.outside() / "sentinel").string(), "x"));
  refused(errc::entry_refused, w, tar_builder().directory("/v/"));
  CHECK_FALSE(fs::exists("/etc/fussy-attack"));
}

TEST_CASE("attack: an entry with `..` in its name, wherever it stands") {
  for (const char* name : {"../outside/sentinel", "v/../../outside/sentinel", "v/a/../../../outside/sentinel", "..",
                           "v/..", "./../outside/sentinel", "v//..//..//outside/sentinel", "v/a/../b"}) {
    const workplace w;
    CAPTURE(name);
    refused(errc::entry_refused, w, version().file(name, "x"));
    refused(errc::entry_refused, w, version().directory(std::string(name) + "/"));
    refused(errc::entry_refused, w, version().symlink(name, "a"));
    CHECK(content_of(w.outside() / "sentinel") == "never touched");
  }
}

TEST_CASE("attack: a name hidden in a pax or GNU long name header") {
  const workplace w;
  refused(errc::entry_refused, w, version().pax("path", "../outside/sentinel").file("v/harmless", "x"));
  refused(errc::entry_refused, w, version().gnu_long('L', "../outside/sentinel").file("v/harmless", "x"));
  refused(errc::entry_refused, w, version().pax("linkpath", "../../outside").symlink("v/l", "harmless"));
  refused(errc::entry_refused, w, version().gnu_long('K', "../../outside").symlink("v/l", "harmless"));
}

TEST_CASE("attack: a link that leads out of the package by `..`") {
  for (const char* text : {"..", "../outside", "../../outside", "./../..", "a/../../x", "../v/../x"}) {
    const workplace w;
    CAPTURE(text);
    refused(errc::entry_refused, w, version().symlink("v/l", text));
  }
}

TEST_CASE("attack: a link whose `..` only leads out when another link is followed first") {
  const workplace w;
  // v/d/up is v; so v/d/up/.. is outside although the text climbs no further than v/d.
  refused(errc::entry_refused, w, version().directory("v/d/").symlink("v/d/up", "..").symlink("v/out", "d/up/.."));
}

TEST_CASE("where a link leads is found out by hand as the kernel finds it out, for kernels that cannot be asked") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return random() % n; };
  const std::vector<std::string> names{"a", "a/b", "a/b/c", "d"},
      parts{"..", "..", ".", "a", "b", "c", "d", "f", "l0", "l3"};
  unsigned out = 0, links = 0;
  for (int tree = 0; tree < 400; ++tree) {
    const workplace w;
    const fs::path root = w.top() / "root";
    for (const std::string& name : names) fs::create_directories(root / name);
    put(root / "a/f", "a file");
    std::vector<std::string> paths;
    for (unsigned i = 0; i < 6; ++i) {
      std::string text = parts[below(parts.size())];
      for (auto more = below(6); more > 0; --more) text += "/" + parts[below(parts.size())];
      if (below(20) == 0) text = "/" + text;
      paths.push_back(names[below(names.size())] + "/l" + std::to_string(i));
      fs::create_symlink(text, root / paths.back());
    }
    const unique_fd at = open_file(root, O_RDONLY | O_DIRECTORY);
    for (const std::string& path : paths) {
      CAPTURE(path);
      CAPTURE(fs::read_symlink(root / path).string());
      const bool asked = archive::link_leads_out(at.get(), path.c_str());
      CHECK(archive::link_leads_out_by_hand(at.get(), path.c_str()) == asked);
      ++links, out += asked;
    }
  }
  CHECK(out > links / 20);
  CHECK(out < links / 2);
}

TEST_CASE("attack: a symlink planted by one entry is not followed by a later one") {
  for (const char* later : {"v/l/sentinel", "v/l/new"}) {
    const workplace w;
    refused(errc::entry_refused, w, version().symlink("v/l", w.outside().string()).file(later, "x"));
  }
  const workplace w;
  refused(errc::entry_refused, w,
          version().symlink("v/l", w.outside().string()).directory("v/l/").file("v/l/new", "x"));
}

TEST_CASE("attack: a symlink inside of the package is not followed either") {
  const workplace w;
  refused(errc::entry_refused, w, version().directory("v/d/").symlink("v/l", "d").file("v/l/f", "x"));
}

TEST_CASE("attack: a file written over a symlink to outside") {
  const workplace w;
  refused(errc::entry_refused, w,
          version().symlink("v/l", (w.outside() / "sentinel").string()).file("v/l", "overwritten"));
}

TEST_CASE("attack: a dangling symlink in the way of a file creates nothing at its end") {
  const workplace w;
  refused(errc::entry_refused, w, version().symlink("v/l", (w.outside() / "new").string()).file("v/l", "x"));
  CHECK_FALSE(fs::exists(w.outside() / "new"));
}

TEST_CASE("attack: a hard link to outside of the package") {
  for (const char* target :
       {"/etc/passwd", "../outside/sentinel", "v/../../outside/sentinel", "outside/sentinel", "..", "/"}) {
    const workplace w;
    CAPTURE(target);
    refused(errc::entry_refused, w, version().hard_link("v/h", target));
  }
}

TEST_CASE("attack: a hard link through a symlink to outside") {
  const workplace w;
  refused(errc::entry_refused, w, version().symlink("v/l", w.outside().string()).hard_link("v/h", "v/l/sentinel"));
}

TEST_CASE("attack: a hard link to a symlink links the symlink, not what it names") {
  const workplace w;
  const std::string sentinel = (w.outside() / "sentinel").string();
  CHECK(w.refusal(version().symlink("v/l", sentinel).hard_link("v/h", "v/l")) == errc::success);
  CHECK(fs::is_symlink(w.into() / "v/h"));
  CHECK(w.outside_unchanged());  // its count of links too
}

TEST_CASE("attack: a hard link that brings content does not write through to its target") {
  const tar_entry link = {.name = "v/b", .type = '1', .content = "changed", .link = "v/a"};
  const workplace w;  // pax allows content here
  w.unpack(version().file("v/a", "kept").pax("comment", "pax").add(link).bytes());
  CHECK(content_of(w.into() / "v/a") == "kept");
  CHECK(content_of(w.into() / "v/b") == "kept");
  const workplace u;  // ustar does not
  refused(errc::malformed, u, version().file("v/a", "kept").add(link));
  CHECK(content_of(u.into() / "v/a") == "kept");
}

TEST_CASE("attack: a hard link to a name that comes later, or never, or to a directory") {
  const workplace w;
  refused(errc::entry_refused, w, version().hard_link("v/h", "v/f").file("v/f", "x"));
  const workplace u;
  refused(errc::entry_refused, u, version().hard_link("v/h", "v/h"));
  const workplace x;
  refused(errc::entry_refused, x, version().directory("v/d/").hard_link("v/h", "v/d"));
}

TEST_CASE("attack: devices and named pipes") {
  for (char type : {'3', '4', '6'}) {
    const workplace w;
    CAPTURE(type);
    refused(errc::entry_refused, w, version().add({.name = "v/null", .type = type, .major = 1, .minor = 3}));
    CHECK_FALSE(fs::exists(w.into() / "v/null"));
  }
}

TEST_CASE("attack: a name that occurs twice, in every combination of kinds but two directories") {
  const auto add = [](tar_builder& t, int kind) {
    switch (kind) {
      case 0:
        t.file("v/twice", "1");
        break;
      case 1:
        t.directory("v/twice/");
        break;
      case 2:
        t.symlink("v/twice", "other");
        break;
      default:
        t.hard_link("v/twice", "v/other");
    }
  };
  for (int first = 0; first < 4; ++first)
    for (int second = 0; second < 4; ++second) {
      if (first == 1 && second == 1) continue;
      const workplace w;
      CAPTURE(first);
      CAPTURE(second);
      tar_builder t = version().file("v/other", "o");
      add(t, first);
      add(t, second);
      refused(errc::entry_refused, w, t);
      CHECK(content_of(w.into() / "v/other") == "o");
    }
}

TEST_CASE("attack: names that are one when `.`, double and trailing slashes are taken away") {
  for (const char* name : {"./v/f", "v/./f", "v//f", "v/.//f"}) {
    const workplace w;
    CAPTURE(name);
    refused(errc::entry_refused, w, version().file("v/f", "x").file(name, "y"));
    CHECK(content_of(w.into() / "v/f") == "x");
  }
}

TEST_CASE("attack: a link or pipe with a trailing slash, to pass for a directory") {
  const workplace w;
  refused(errc::entry_refused, w, version().symlink("v/l/", w.outside().string()));
  const workplace u;
  refused(errc::entry_refused, u, version().hard_link("v/l/", "v"));
}

TEST_CASE("attack: a root in another case is another root") {
  const workplace w;
  refused(errc::bad_root, w, version().file("V/f", "x"));
}

TEST_CASE("attack: two top-level entries") {
  const workplace w;
  refused(errc::bad_root, w, version().directory("w/"));
  const workplace u;
  refused(errc::bad_root, u, version().file("v/f", "x").file("w/f", "x"));
  const workplace x;
  refused(errc::bad_root, x, version().file("README", "x"));
  const workplace y;
  refused(errc::bad_root, y, version().file(".hidden", "x"));
}

TEST_CASE("attack: a root with a name that the target keeps, hides or cannot show") {
  for (const std::string& root : {std::string("current"), std::string("failsafe"), std::string("Current"),
                                  std::string("FAILSAFE"), std::string(".v"), std::string(".fussy"), std::string("..."),
                                  std::string("v\n"), std::string("\x1b[2Jv"), std::string("v\x7f")}) {
    const workplace w;
    CAPTURE(root);
    refused(errc::bad_root, w, tar_builder().directory(root + "/").file(root + "/f", "x"));
    CHECK(fs::is_empty(w.into()));
  }
  const workplace w;
  const std::string long_root(256, 'v');
  refused(errc::entry_refused, w, tar_builder().gnu_long('L', long_root + "/").directory("x/"));
}

TEST_CASE("attack: a root that is a file or a link") {
  const workplace w;
  refused(errc::bad_root, w, tar_builder().file("v", "x"));
  const workplace u;
  refused(errc::bad_root, u, tar_builder().symlink("v", u.outside().string()).file("v/sentinel", "x"));
}

TEST_CASE("an archive without a top-level directory is refused") {
  const workplace w;
  refused(errc::bad_root, w, tar_builder());
  refused(errc::bad_root, w, tar_builder().directory("./"));
}

TEST_CASE("attack: more entries than the limit") {
  const workplace w;
  tar_builder t = version();
  for (int i = 0; i < 20; ++i) t.file("v/" + std::to_string(i), "");
  CHECK(w.refusal(t, {.limit = {.max_entries = 21}}) == errc::success);
  const workplace u;
  refused(errc::too_large, u, t, {.limit = {.max_entries = 20}});
}

TEST_CASE("attack: more octets than the limit, seen before the file is made") {
  const workplace w;
  refused(errc::too_large, w, version().file("v/a", std::string(600, 'a')).file("v/b", std::string(600, 'b')),
          {.limit = {.max_bytes = 1000}});
  CHECK_FALSE(fs::exists(w.into() / "v/b"));
}

TEST_CASE("attack: a bomb of more than the allowed ratio stops early") {
  const workplace w;
  const std::string zeros(1 << 20, '\0');
  int left = 200;
  const std::string head =
      version().open_bytes() + tar_builder::header({.name = "v/zeros", .claimed_size = UINT64_C(200) << 20});
  byte_vector packed;
  codec::compressor c(vector_writer{packed}, codec::format::gzip, 1);
  c.write(as_bytes(head));
  while (left-- > 0) c.write(as_bytes(zeros));
  c.write(as_bytes(std::string(1024, '\0')));
  c.finish();
  const auto unpack = [&](std::uint64_t ratio) {
    return code_of([&] {
      archive::extract(memory_reader{byte_view(packed)}, open_file(w.into(), O_RDONLY | O_DIRECTORY),
                       {.limit = {.max_ratio = ratio}});
    });
  };
  CHECK(unpack(100) == errc::too_large);
  CHECK(status_of(w.into() / "v/zeros").st_size < 70 << 20);
  fs::remove_all(w.into() / "v");
  CHECK(unpack(0) == errc::success);
  CHECK(w.outside_unchanged());
}

TEST_CASE("attack: a map of holes that would fill the memory (GNU sparse 1.0)") {
  const workplace w;
  std::string map = "4000000\n";
  for (int i = 0; i < 2'000'000; ++i) map += "0\n0\n";
  tar_builder t = version().pax_records(
      tar_builder::pax_record("GNU.sparse.major", "1") + tar_builder::pax_record("GNU.sparse.minor", "0") +
      tar_builder::pax_record("GNU.sparse.name", "v/sparse") + tar_builder::pax_record("GNU.sparse.realsize", "100"));
  refused(errc::too_large, w, t.file("v/sparse", map));
}

TEST_CASE("attack: extended headers that would fill the memory") {
  const workplace w;
  CHECK(exit_status(w.refusal(version().pax("comment", std::string(8 << 20, 'c')).file("v/f", ""))) == 21);
  CHECK(exit_status(w.refusal(version().gnu_long('L', std::string(8 << 20, 'n')).file("v/f", ""))) == 21);
  CHECK(w.outside_unchanged());
}

TEST_CASE("attack: a million directories with long names are stopped by what their metadata may take") {
  const workplace w;
  // The same directory again and again costs no inode, only what is remembered for its end.
  const std::string entry = tar_builder::header({.name = "v/" + std::string(90, 'd') + "/", .type = '5', .mode = 0755});
  int left = 900'000;
  byte_vector packed;
  codec::compressor c(vector_writer{packed}, codec::format::zstd, 1);
  c.write(as_bytes(version().open_bytes()));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += entry;
  for (; left > 0; left -= 1000) c.write(as_bytes(many));
  c.finish();
  CHECK(code_of([&] {
          archive::extract(memory_reader{byte_view(packed)}, open_file(w.into(), O_RDONLY | O_DIRECTORY),
                           {.limit = {.max_ratio = 0}});
        }) == errc::too_large);
  CHECK(w.outside_unchanged());
}

TEST_CASE("attack: a path deeper or longer than the limits") {
  std::string deep = "v";
  for (int i = 0; i < 256; ++i) deep += "/d";
  const workplace w;
  refused(errc::entry_refused, w, version().gnu_long('L', deep).file("x", ""));
  const workplace u;
  refused(errc::entry_refused, u, version().gnu_long('L', "v/" + std::string(5000, 'n')).file("x", ""));
  const workplace x;
  refused(errc::entry_refused, x, version().gnu_long('L', "v/" + std::string(256, 'n')).file("x", ""));
  const workplace y;
  CHECK(y.refusal(version().gnu_long('L', deep.substr(0, deep.size() - 2)).file("x", "")) == errc::success);
}

TEST_CASE("attack: sizes that lie") {
  const workplace w;
  refused(errc::too_large, w, version().add({.name = "v/f", .content = "x", .claimed_size = UINT64_C(1) << 62}));
  const workplace u;
  CHECK(u.refusal(version().add({.name = "v/f", .content = "x", .claimed_size = 100'000}).open_bytes()) ==
        errc::malformed);
  const workplace x;  // base 256, negative
  std::string h = tar_builder::header({.name = "v/f"});
  h.replace(124, 12, 12, '\xff');
  CHECK(exit_status(x.refusal(version().raw(tar_builder::with_checksum(h)))) == 21);
}

TEST_CASE("attack: something behind the end of the archive, which other programs might read") {
  const workplace w;
  refused(errc::malformed, w, version().end().file("v/hidden", "x"));
  const workplace u;  // one empty record is no end to some
  refused(errc::malformed, u, version().raw(std::string(512, '\0')).file("v/hidden", "x"));
  const workplace x;
  CHECK(x.refusal(version().bytes() + std::string(100'000, '\0')) == errc::success);  // padding of a tape
}

TEST_CASE("attack: damaged headers end in an error") {
  const std::string good = version().file("v/f", "content").bytes();
  SUBCASE("a header with a wrong checksum") {
    const workplace w;
    std::string bad = good;
    bad[512] ^= 1;
    CHECK(w.refusal(bad) == errc::malformed);
  }
  SUBCASE("an archive that is cut within an entry") {
    for (std::size_t size : {1u, 511u, 513u, 1023u, 1026u}) {
      const workplace w;
      CAPTURE(size);
      CHECK(exit_status(w.refusal(std::string_view(good).substr(0, size))) == 21);
    }
  }
  SUBCASE("no tar at all") {
    const workplace w;
    CHECK(w.refusal(std::string(3000, 'x')) == errc::malformed);
    CHECK(w.refusal(std::string()) == errc::malformed);
  }
  SUBCASE("not even compressed") {
    const workplace w;
    CHECK(code_of([&] { archive::extract(memory_reader{good}, open_file(w.into(), O_RDONLY | O_DIRECTORY)); }) ==
          errc::malformed);
  }
}

TEST_CASE("attack: owners that no file can have") {
  if (!is_root()) return test::skip("needs root");
  const workplace w;
  refused(errc::malformed, w, version().pax("uid", "4294967295").file("v/f", "x"));
  const workplace u;
  refused(errc::malformed, u, version().pax("uid", "-1").file("v/f", "x"));
  const workplace x;
  refused(errc::malformed, x, version().pax("gid", "99999999999").file("v/f", "x"));
}

TEST_CASE("attack: the running version has links and pipes where the new one has files: neither is followed or read") {
  const workplace w;
  const fs::path old = w.top() / "old";
  fs::create_directory(old);
  put(w.outside() / "same", "content");
  const auto before = listing(w.outside());
  fs::create_symlink(w.outside() / "same", old / "a");
  CHECK(mkfifo((old / "b").c_str(), 0644) == 0);
  fs::create_directory_symlink(w.outside(), old / "d");
  const unique_fd share = open_file(old, O_RDONLY | O_DIRECTORY);
  const auto done =
      w.unpack(version().file("v/a", "content").file("v/b", "content").file("v/d/same", "content").bytes(),
               {.share_with = share.get()});
  CHECK(done.shared == 0);
  CHECK(content_of(w.into() / "v/d/same") == "content");
  CHECK(fs::is_regular_file(fs::symlink_status(w.into() / "v/a")));
  CHECK(listing(w.outside()) == before);
}

TEST_CASE("attack: a message shows no control characters of a name") {
  const workplace w;
  const std::string text = message_of([&] { w.unpack(version().file("v/\x1b[31m\n../\xff/..", "x").bytes()); });
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.find("\\x1b") != std::string::npos);
}
