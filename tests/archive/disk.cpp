// archive: when bytes, inodes or descriptors run out, and on file systems that share blocks. Needs mounts, so root.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "fixture.hpp"
#include "support/skip.hpp"

using namespace fussy;
using namespace test;

namespace {

tar_builder version() { return tar_builder().directory("v/"); }

class mounted {
public:
  /// @param what  arguments of mount(8) before the directory
  explicit mounted(const std::string& what)
      : ok_(std::system(("mount " + what + " " + where_.path().string() + " 2>/dev/null").c_str()) == 0) {}
  ~mounted() {
    if (ok_ && umount2(where_.path().c_str(), MNT_DETACH) != 0) std::perror("umount");
  }
  mounted(const mounted&) = delete;
  mounted& operator=(const mounted&) = delete;
  explicit operator bool() const { return ok_; }
  const fs::path& path() const { return where_.path(); }

private:
  temporary_directory where_;
  bool ok_;
};

}  // namespace

TEST_SUITE_BEGIN("archive");

TEST_CASE("a full disk is no_space, and the message has the path, what was needed and what is free") {
  const mounted disk("-t tmpfs -o size=1m none");
  if (!disk) return test::skip("no right to mount");
  const workplace w(disk.path());
  try {
    w.unpack(version().file("v/large", std::string(3 << 20, 'x')).bytes());
    FAIL("no error");
  } catch (const error& e) {
    CHECK(e.code() == errc::no_space);
    CHECK(e.parts().path == "v/large");
    CHECK(e.parts().why.find("still to be written") != std::string::npos);
    CHECK(e.parts().why.find("bytes and") != std::string::npos);
    CHECK(e.parts().remedy.find("fussy-clean") != std::string::npos);
  }
}

TEST_CASE("inodes that run out are no_space too, for files, directories and links") {
  for (int kind = 0; kind < 3; ++kind) {
    const mounted disk("-t tmpfs -o size=4m,nr_inodes=20 none");
    if (!disk) return;
    const workplace w(disk.path());
    tar_builder t = version();
    for (int i = 0; i < 30; ++i) {
      const std::string name = "v/" + std::to_string(i);
      kind == 0 ? t.file(name, "") : kind == 1 ? t.directory(name + "/") : t.symlink(name, "x");
    }
    CHECK(w.refusal(t) == errc::no_space);
    CHECK(message_of([&] { fs::remove_all(w.into() / "v"), w.unpack(t.bytes()); }).find("0 inodes") !=
          std::string::npos);
  }
}

TEST_CASE("descriptors that run out are resource_limit") {
  const workplace w;
  child c([&](int) {
    // Everything that is open now, and one more.
    const rlimit few{static_cast<rlim_t>(dup(0)) + 2, 4096};
    return setrlimit(RLIMIT_NOFILE, &few) == 0 &&
                   w.refusal(version().directory("v/d/").file("v/d/f", "x")) == errc::resource_limit
               ? 0
               : 1;
  });
  CHECK(c.wait() == 0);
}

TEST_CASE("a read-only file system is target_unusable") {
  const mounted disk("-t tmpfs -o size=1m none");
  if (!disk) return;
  const workplace w(disk.path());
  REQUIRE(std::system(("mount -o remount,ro " + disk.path().string()).c_str()) == 0);
  CHECK(w.refusal(version()) == errc::target_unusable);
}

TEST_CASE(
    "where blocks can be shared, a file with equal content but other metadata costs none, a changed one its end only") {
  for (const std::string type : {"xfs", "btrfs"}) {
    CAPTURE(type);
    temporary_directory images;
    const std::string image = images / "image";
    if (std::system(("truncate -s 400M " + image + " && mkfs." + type + " " + image + " >/dev/null 2>&1").c_str()) !=
        0) {
      test::skip_part(std::string("no mkfs.") + type);
      continue;
    }
    const mounted disk("-o loop " + image);
    if (!disk) {
      test::skip_part(std::string("no right to mount ") + type);
      continue;
    }
    const workplace w(disk.path());
    std::string content(4'000'001, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 >> 3);
    std::string changed = content;
    changed[3'500'000] = '!';
    workplace::unpack_to(w.top() / "old", version()
                                              .file("v/meta", content)
                                              .file("v/content", content)
                                              .file("v/same", content)
                                              .file("v/longer", content)
                                              .bytes());
    const unique_fd share = open_file(w.top() / "old/v", O_RDONLY | O_DIRECTORY);
    const auto done = w.unpack(version()
                                   .file("v/meta", content, 0755)
                                   .file("v/content", changed)
                                   .file("v/same", content)
                                   .file("v/longer", content + "more")
                                   .bytes(),
                               {.share_with = share.get()});
    CHECK(done.shared == 1);
    CHECK(content_of(w.into() / "v/meta") == content);
    CHECK(content_of(w.into() / "v/content") == changed);
    CHECK(content_of(w.into() / "v/longer") == content + "more");
    CHECK((status_of(w.into() / "v/meta").st_mode & 07777) == 0755);
    CHECK(done.written < 500'000 + 3 * 300'000);
  }
}
