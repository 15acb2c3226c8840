// archive: packing a tree, and unpacking it again.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "fixture.hpp"

using namespace fussy;
using namespace test;

namespace {

std::string pack(const fs::path& root, const archive::create_options& opts = {}, const std::string& name = "v") {
  byte_vector out;
  any_writer to{vector_writer{out}};
  archive::create(to, root, name, opts);
  return std::string(as_text(out));
}

// Names as GNU tar sees them.
std::vector<std::string> names_of(const std::string& tar) {
  temporary_directory d;
  put(d / "tar", tar);
  REQUIRE(std::system(
              ("tar --quoting-style=literal -tf " + (d / "tar").string() + " > " + (d / "names").string()).c_str()) ==
          0);
  std::istringstream in(content_of(d / "names"));
  std::vector<std::string> names;
  for (std::string line; std::getline(in, line);) names.push_back(line);
  return names;
}

void set_time(const fs::path& path, std::int64_t seconds, long nanoseconds = 0) {
  const timespec times[2] = {{1, 0}, {seconds, nanoseconds}};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

// All of it with whole seconds, as packages keep them.
void set_times(const fs::path& top) {
  for (const auto& e : fs::recursive_directory_iterator(top)) set_time(e.path(), 1'234'567'890);
  set_time(top, 1'234'567'890);
}

void make_tree(const fs::path& top) {
  put(top / "bin/app", std::string(300'000, 'a'));
  fs::permissions(top / "bin/app", fs::perms(0755));
  put(top / "empty", "");
  put(top / "naïve/日本語", "utf-8");
  put(top / "latin1-\xe9", "octets");
  put(top / std::string(150, 'l') / std::string(200, 'n'), "long");
  fs::create_directories(top / "empty directory");
  fs::create_symlink("bin/app", top / "link");
  fs::create_symlink("/var/lib/app", top / "data");
  fs::create_symlink(std::string(300, 't'), top / "long link");
  fs::create_hard_link(top / "bin/app", top / "bin/app2");
  setxattr((top / "empty").c_str(), "user.a", "\0b", 2, 0);
  set_times(top);
}

}  // namespace

TEST_SUITE_BEGIN("archive");

TEST_CASE("what was packed is unpacked as it was, by us and by tar") {
  temporary_directory source;
  make_tree(source / "v");
  const std::string tar = pack(source / "v");
  const workplace w;
  w.unpack(tar);
  CHECK(listing(w.into()) == listing(source.path()));
  char value[8];
  CHECK(lgetxattr((w.into() / "v/empty").c_str(), "user.a", value, sizeof value) ==
        lgetxattr((source / "v/empty").c_str(), "user.a", value, sizeof value));
  temporary_directory by_tar;
  put(by_tar / "tar", tar);
  REQUIRE(std::system(("cd " + by_tar.path().string() + " && mkdir x && tar --warning=none -C x -xpf tar").c_str()) ==
          0);
  CHECK(listing(by_tar / "x") == listing(source.path()));
}

TEST_CASE("packing twice, and packing what was unpacked, gives the same octets") {
  temporary_directory source;
  make_tree(source / "v");
  const std::string tar = pack(source / "v");
  CHECK(pack(source / "v") == tar);
  const workplace w;
  w.unpack(tar);
  CHECK(pack(w.into() / "v") == tar);
  CHECK(tar.find("atime") == std::string::npos);
  CHECK(tar.find("ctime") == std::string::npos);
}

TEST_CASE("entries are sorted by name, directories before what they hold, below one root") {
  temporary_directory source;
  for (const char* name : {"b", "a/z", "a/y", "a.b", "C"}) put(source / "tree" / name, "");
  CHECK(names_of(pack(source / "tree", {}, "firmware")) ==
        std::vector<std::string>{"firmware/", "firmware/C", "firmware/a/", "firmware/a/y", "firmware/a/z",
                                 "firmware/a.b", "firmware/b"});
}

TEST_CASE("excluded are whole names behind any slash, by shell patterns, with all below them") {
  temporary_directory source;
  for (const char* name : {"a.pyc", "d/a.pyc", "d/keep", ".git/config", "d/.git/x", "git", "x/y/z", "x/y2"})
    put(source / "v" / name, "");
  const auto names = names_of(pack(source / "v", {.exclude = {"*.pyc", ".git", "x/y", "/keep"}}));
  CHECK(names == std::vector<std::string>{"v/", "v/d/", "v/d/keep", "v/git", "v/x/", "v/x/y2"});
}

TEST_CASE("SOURCE_DATE_EPOCH bounds the times, and owners can be those of root") {
  temporary_directory source;
  put(source / "v/old", "");
  put(source / "v/new", "");
  set_time(source / "v/old", 1000, 5);
  set_time(source / "v/new", 2'000'000'000);
  if (is_root()) REQUIRE(chown((source / "v/new").c_str(), 1234, 1234) == 0);
  const workplace w;
  w.unpack(pack(source / "v", {.clamp_mtime = 1'500'000'000, .root_owner = true}));
  CHECK(status_of(w.into() / "v/old").st_mtim.tv_sec == 1000);
  CHECK(status_of(w.into() / "v/new").st_mtim.tv_sec == 1'500'000'000);
  CHECK(status_of(w.into() / "v/new").st_uid == geteuid());
}

TEST_CASE("files with holes are packed without their zeros") {
  temporary_directory source;
  put(source / "v/sparse", "begin");
  fs::resize_file(source / "v/sparse", 100 << 20);
  put(source / "v/hole", "");
  fs::resize_file(source / "v/hole", 1 << 20);
  set_times(source / "v");
  const std::string tar = pack(source / "v");
  CHECK(tar.size() < 1 << 20);
  const workplace w;
  w.unpack(tar);
  CHECK(listing(w.into()) == listing(source.path()));
  CHECK(status_of(w.into() / "v/sparse").st_blocks * 512 < 1 << 20);
}

TEST_CASE("ACLs and capabilities are packed; what a security module wrote is not") {
  temporary_directory source;
  put(source / "v/f", "x");
  if (std::system(("setfacl -m u:1234:rw " + (source / "v/f").string() + " 2>/dev/null").c_str()) != 0) return;
  setxattr((source / "v/f").c_str(), "security.selinux", "label", 5, 0);
  const std::string tar = pack(source / "v");
  CHECK(tar.find("SCHILY.acl.access") != std::string::npos);
  CHECK(tar.find("selinux") == std::string::npos);
  const workplace w;
  w.unpack(tar);
  CHECK(std::system(("test \"$(getfacl -cp " + (w.into() / "v/f").string() + ")\" = \"$(getfacl -cp " +
                     (source / "v/f").string() + ")\"")
                        .c_str()) == 0);
}

TEST_CASE("a socket is left out with a warning; a device or named pipe is an error") {
  temporary_directory source;
  put(source / "v/f", "x");
  const unique_fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = source / "v/socket";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(bind(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  std::string warning;
  const auto names = names_of(pack(source / "v", {.log = [&](log_level level, std::string_view line) {
                                     if (level == log_level::warning) warning = line;
                                   }}));
  CHECK(names == std::vector<std::string>{"v/", "v/f"});
  CHECK(warning.find("v/socket") != std::string::npos);
  REQUIRE(mkfifo((source / "v/pipe").c_str(), 0600) == 0);
  CHECK(code_of([&] { pack(source / "v"); }) == errc::entry_refused);
}

TEST_CASE("what an install would refuse is refused when it is packed") {
  temporary_directory source;
  put(source / "v/d/f", "x");
  for (const char* name : {"current", "failsafe", ".hidden", ".fussy", "a\nb"})
    CHECK(code_of([&] { pack(source / "v", {}, name); }) == errc::bad_root);
  for (const char* text : {"../../outside", "d/up/..", ".."}) {
    CAPTURE(text);
    fs::create_symlink("..", source / "v/d/up");
    fs::create_symlink(text, source / "v/l");
    CHECK(code_of([&] { pack(source / "v"); }) == errc::entry_refused);
    fs::remove(source / "v/l");
    fs::remove(source / "v/d/up");
  }
}

TEST_CASE("a missing or unreadable directory is an error with its path") {
  CHECK(message_of([] { pack("/nonexistent-directory"); }).find("/nonexistent-directory") != std::string::npos);
  temporary_directory source;
  put(source / "v", "a file");
  CHECK(code_of([&] { pack(source / "v"); }) == errc::io);
}

TEST_CASE("an error of the writer comes out as it is") {
  temporary_directory source;
  put(source / "v/f", std::string(1 << 20, 'x'));
  struct full {
    void write(byte_view) { throw error(errc::no_space, "full"); }
  };
  any_writer to{full{}};
  CHECK(code_of([&] { archive::create(to, source / "v", "v"); }) == errc::no_space);
}
