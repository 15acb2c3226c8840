// archive: files that equal those of the running version are shared with it, and only those.
#include <doctest/doctest.h>
#include <sys/xattr.h>

#include "fixture.hpp"
#include "support/skip.hpp"

using namespace fussy;
using namespace test;

namespace {

tar_builder version() { return tar_builder().directory("v/"); }

std::string sample(std::size_t size, char seed = 1) {
  std::string text(size, '\0');
  std::uint32_t state = static_cast<unsigned char>(seed);
  for (char& c : text) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

// The first archive is installed as "old/v"; the second is unpacked into "into" and shares with it.
struct upgrade {
  workplace w;
  archive::extracted done;

  upgrade(const tar_builder& first, const tar_builder& second, const archive::extract_options& opts = {}) : upgrade() {
    install(first);
    unpack(second, opts);
  }
  upgrade() = default;
  explicit upgrade(const fs::path& below) : w(below) {}
  void install(const tar_builder& first) const { workplace::unpack_to(w.top() / "old", first.bytes()); }
  void unpack(const tar_builder& second, archive::extract_options opts = {}) {
    const unique_fd share = open_file(w.top() / "old/v", O_RDONLY | O_DIRECTORY);
    opts.share_with = share.get();
    done = w.unpack(second.bytes(), opts);
  }
  fs::path before(const char* name) const { return w.top() / "old/v" / name; }
  fs::path after(const char* name) const { return w.into() / done.root / name; }
  bool shared(const char* name) const { return status_of(before(name)).st_ino == status_of(after(name)).st_ino; }
};

}  // namespace

TEST_SUITE_BEGIN("archive");

TEST_CASE("an unchanged version costs links only: nothing of its content is written") {
  const tar_builder t =
      version().file("v/a", "12345").directory("v/d/").file("v/d/b", sample(1'000'000)).file("v/empty", "");
  const upgrade u(t, t);
  CHECK(u.done.shared == 3);
  CHECK(u.done.written == 0);
  CHECK(u.done.bytes == 1'000'005);
  for (const char* name : {"a", "d/b", "empty"}) CHECK(u.shared(name));
  CHECK(listing(u.w.top() / "old/v") == listing(u.w.into() / "v"));
}

TEST_CASE("the root may have another name than the version that is shared with") {
  const upgrade u(version().file("v/a", "x"), tar_builder().directory("v2/").file("v2/a", "x"));
  CHECK(u.done.shared == 1);
}

TEST_CASE("gotcha: a file of the same size, time, mode and owner but with other content is never shared") {
  for (std::size_t size : {1u, 100u, 70'000u, 700'000u}) {
    for (std::size_t at : {std::size_t{0}, size / 2, std::size_t{size} - 1}) {
      std::string other = sample(size);
      other[at] = static_cast<char>(other[at] ^ 1);
      const upgrade u(version().file("v/a", sample(size)), version().file("v/a", other));
      CHECK_FALSE(u.shared("a"));
      CHECK(content_of(u.after("a")) == other);
      CHECK(content_of(u.before("a")) == sample(size));
      CHECK(u.done.shared == 0);
      CHECK(u.done.written == size);
    }
  }
}

TEST_CASE("a file that differs in mode, time, owner or attributes only is not shared, and has what the archive says") {
  const std::string content = sample(10'000);
  const auto first = version().file("v/a", content);
  SUBCASE("mode") {
    const upgrade u(first, version().file("v/a", content, 0755));
    CHECK_FALSE(u.shared("a"));
    CHECK((status_of(u.after("a")).st_mode & 07777) == 0755);
    CHECK((status_of(u.before("a")).st_mode & 07777) == 0644);
  }
  SUBCASE("time, by a nanosecond") {
    const upgrade u(first, version().pax("mtime", "1000000000.000000001").file("v/a", content));
    CHECK_FALSE(u.shared("a"));
    CHECK(status_of(u.after("a")).st_mtim.tv_nsec == 1);
  }
  SUBCASE("owner") {
    if (!is_root()) return test::skip_part("needs root");
    const upgrade u(first, version().add({.name = "v/a", .content = content, .uid = 1234}));
    CHECK_FALSE(u.shared("a"));
    CHECK(status_of(u.after("a")).st_uid == 1234);
    CHECK(status_of(u.before("a")).st_uid == 0);
  }
  SUBCASE("an attribute more") {
    const upgrade u(first, version().pax("SCHILY.xattr.user.a", "1").file("v/a", content));
    CHECK_FALSE(u.shared("a"));
  }
  SUBCASE("an attribute less, as when one was added on the device") {
    upgrade u;
    u.install(first);
    if (setxattr(u.before("a").c_str(), "user.a", "1", 1, 0) != 0) return;
    u.unpack(first);
    CHECK_FALSE(u.shared("a"));
    CHECK(lgetxattr(u.after("a").c_str(), "user.a", nullptr, 0) < 0);
  }
}

TEST_CASE("files with equal attributes, setuid and owners are shared") {
  const auto t = version()
                     .pax("SCHILY.xattr.user.a", "1")
                     .add({.name = "v/a", .content = "x", .mode = 04755, .uid = 1234, .gid = 56});
  const upgrade u(t, t);
  CHECK(u.shared("a"));
}

TEST_CASE("gotcha: a file edited on the device is replaced by what the package has") {
  upgrade u;
  const auto t = version().file("v/config", "colour = blue\n");
  u.install(t);
  const struct stat st = status_of(u.before("config"));
  put(u.before("config"), "colour = pink\n");
  const timespec times[2] = {st.st_atim, st.st_mtim};
  REQUIRE(utimensat(AT_FDCWD, u.before("config").c_str(), times, 0) == 0);
  u.unpack(t);
  CHECK(content_of(u.after("config")) == "colour = blue\n");
  CHECK(content_of(u.before("config")) == "colour = pink\n");
}

TEST_CASE("a file that grew, shrank, or became another kind of entry is written anew") {
  const upgrade u(
      version()
          .file("v/a", sample(1000))
          .file("v/b", sample(1000))
          .file("v/c", "x")
          .directory("v/d/")
          .symlink("v/e", "a"),
      version().file("v/a", sample(2000)).file("v/b", sample(999)).directory("v/c/").file("v/d", "x").file("v/e", "x"));
  CHECK(u.done.shared == 0);
  CHECK(content_of(u.after("a")) == sample(2000));
  CHECK(content_of(u.after("b")) == sample(999));
  CHECK(fs::is_directory(u.after("c")));
  CHECK(content_of(u.after("e")) == "x");
}

TEST_CASE("hard links inside of the package stay one file when that is shared") {
  const auto t = version().file("v/a", "x").hard_link("v/b", "v/a");
  const upgrade u(t, t);
  CHECK(u.shared("a"));
  CHECK(u.shared("b"));
  CHECK(status_of(u.after("a")).st_nlink == 4);
}

TEST_CASE("attack: content that comes with a hard link to a shared file does not reach the running version") {
  const auto first = version().file("v/a", "good");
  const upgrade u(first, version()
                             .file("v/a", "good")
                             .pax("comment", "x")
                             .add({.name = "v/b", .type = '1', .content = "evil", .link = "v/a"}));
  CHECK(u.shared("a"));
  CHECK(content_of(u.before("a")) == "good");
}

TEST_CASE("sparse files are compared as what they read as, and shared or written with their holes") {
  const auto sparse = [](const std::string& data) {
    return version()
        .pax_records(tar_builder::pax_record("GNU.sparse.major", "1") +
                     tar_builder::pax_record("GNU.sparse.minor", "0") +
                     tar_builder::pax_record("GNU.sparse.name", "v/a") +
                     tar_builder::pax_record("GNU.sparse.realsize", "5000000"))
        .file("v/a", [&] {
          std::string map = "1\n4000000\n" + std::to_string(data.size()) + "\n";
          map.resize(512, '\0');
          return map + data;
        }());
  };
  const upgrade same(sparse("data"), sparse("data"));
  CHECK(same.shared("a"));
  const upgrade other(sparse("data"), sparse("Data"));
  CHECK_FALSE(other.shared("a"));
  CHECK(other.done.written < 100'000);
  CHECK(content_of(other.after("a")).substr(4'000'000, 4) == "Data");
  CHECK(status_of(other.after("a")).st_size == 5'000'000);
  CHECK(status_of(other.after("a")).st_blocks * 512 < 1'000'000);
  // The same octets without holes in the archive
  const upgrade plain(sparse("data"),
                      version().file("v/a", std::string(4'000'000, '\0') + "data" + std::string(999'996, '\0')));
  CHECK(plain.shared("a"));
}

TEST_CASE("reading the running version does not change its times of access") {
  upgrade u;
  const auto t = version().file("v/a", sample(100'000));
  u.install(t);
  const timespec times[2] = {{1000, 0}, {1'000'000'000, 0}};
  REQUIRE(utimensat(AT_FDCWD, u.before("a").c_str(), times, 0) == 0);
  u.unpack(t);
  CHECK(u.shared("a"));
  CHECK(status_of(u.before("a")).st_atim.tv_sec == 1000);
}

TEST_CASE("a running version on another file system is compared with, and copied: no link leads there") {
  const workplace w;
  temporary_directory memory;
  if (!is_root() ||
      std::system(("mount -t tmpfs -o size=8m none " + memory.path().string() + " 2>/dev/null").c_str()) != 0)
    return;
  const auto t = version().file("v/a", sample(300'000));
  workplace::unpack_to(memory / "old", t.bytes());
  {
    const unique_fd share = open_file(memory / "old/v", O_RDONLY | O_DIRECTORY);
    const auto done = w.unpack(t.bytes(), {.share_with = share.get()});
    CHECK(done.shared == 0);
    CHECK(done.written == 300'000);
    CHECK(content_of(w.into() / "v/a") == sample(300'000));
  }
  CHECK(std::system(("umount " + memory.path().string()).c_str()) == 0);
}

TEST_CASE("a second version with 5 % of its files changed writes the changed octets and no more") {
  tar_builder first = version(), second = version();
  std::uint64_t changed = 0;
  for (int i = 0; i < 600; ++i) {
    const std::string name = "v/" + std::to_string(i),
                      content = sample(static_cast<std::size_t>(i) * 97 % 30'000 + 100, static_cast<char>(i));
    first.file(name, content);
    if (i % 20 == 0) changed += content.size();
    second.file(name, i % 20 == 0 ? sample(content.size(), static_cast<char>(i + 1)) : content);
  }
  const upgrade u(first, second);
  CHECK(u.done.shared == 570);
  CHECK(u.done.written == changed);
}
