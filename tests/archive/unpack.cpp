// archive: what is kept of an archive, in the formats that tar programs write, as root and as another user.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <climits>
#include <cstdlib>

#include "fixture.hpp"
#include "support/instrumented.hpp"
#include "support/skip.hpp"

using namespace fussy;
using namespace test;

namespace {

tar_builder version() { return tar_builder().directory("v/"); }

std::string attribute(const fs::path& path, const char* name) {
  std::string value(4096, '\0');
  const ssize_t n = lgetxattr(path.c_str(), name, value.data(), value.size());
  value.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return value;
}

int run(const std::string& command) { return std::system(command.c_str()); }

// Peak resident memory of the unpacking program in KiB; it must end well.
long peak_of_unpacking(const std::string& arguments) {
  FILE* const out = popen((FUSSY_UNPACK_PROGRAM " " + arguments).c_str(), "re");
  REQUIRE(out);
  long peak = 0;
  CHECK(std::fscanf(out, "peak %ld", &peak) == 1);
  CHECK(pclose(out) == 0);
  return peak;
}
// What an emulator takes for itself (Meson says when there is one) is counted as ours.
long peak_allowed() { return instrumented ? LONG_MAX : 1024 * (std::getenv("MESON_EXE_WRAPPER") ? 40 : 24); }

// Unpacks a file as some tar program wrote it.
archive::extracted unpack_file(const workplace& w, const fs::path& file, const archive::extract_options& opts = {}) {
  return archive::extract(file_reader(file), open_file(w.into(), O_RDONLY | O_DIRECTORY), opts);
}

// A tree with a bit of everything that ordinary users can make.
void make_tree(const fs::path& top) {
  put(top / "bin/app", std::string(100'000, 'a'));
  fs::permissions(top / "bin/app", fs::perms(0755));
  put(top / "etc/empty", "");
  put(top / "etc/read only", "secret");
  fs::permissions(top / "etc/read only", fs::perms(0400));
  put(top / "naïve/日本語/😀", "utf-8");
  put(top / std::string(150, 'l') / std::string(200, 'n'), "long");
  put(top / "latin1-\xe9", "octets");
  fs::create_directories(top / "empty directory");
  fs::create_symlink("app", top / "bin/link");
  fs::create_symlink("../etc/empty", top / "bin/up");
  fs::create_symlink("/var/lib/app", top / "data");
  fs::create_symlink(std::string(150, 't'), top / "long link");
  fs::create_hard_link(top / "bin/app", top / "bin/app2");
}

// Whole seconds, which every format can keep.
void set_times(const fs::path& top) {
  const timespec times[2] = {{1'234'567'890, 0}, {1'234'567'890, 0}};
  utimensat(AT_FDCWD, top.c_str(), times, 0);
  for (const auto& e : fs::recursive_directory_iterator(top))
    utimensat(AT_FDCWD, e.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
}

}  // namespace

TEST_SUITE_BEGIN("archive");

TEST_CASE("the counts say what was in the archive and what was written") {
  const workplace w;
  const auto done =
      w.unpack(version().file("v/a", "12345").file("v/b", "").symlink("v/l", "a").hard_link("v/h", "v/a").bytes());
  CHECK(done.root == "v");
  CHECK(done.entries == 5);
  CHECK(done.files == 2);
  CHECK(done.bytes == 5);
  CHECK(done.written == 5);
  CHECK(done.shared == 0);
}

TEST_CASE("archives of GNU tar, bsdtar and Python, in each of their formats, become the tree they were made of") {
  temporary_directory source;
  make_tree(source / "v");
  temporary_directory elsewhere;
  const std::string from = source.path().string(), out = (elsewhere / "a").string();
  const auto check = [&](const std::string& command) {
    CAPTURE(command);
    REQUIRE(run(command) == 0);
    const workplace w;
    CHECK(unpack_file(w, out).root == "v");
    CHECK(listing(w.into()) == listing(source.path()));
  };
  set_times(source / "v");
  for (const std::string how :
       {"--format=gnu -cz", "--format=oldgnu -cz", "--format=gnu -cj", "--format=gnu --zstd -c"})
    check("tar -C " + from + " " + how + "f " + out + " v");
  check("tar -C " + from + " -czf " + out + " ./v");
  // The pax formats want names in UTF-8.
  fs::remove(source / "v" / "latin1-\xe9");
  set_times(source / "v");
  check("tar -C " + from + " --format=posix -czf " + out + " v");
  check(
      "python3 -c \"import tarfile, sys; t = tarfile.open(sys.argv[1], 'w:gz', format=tarfile.PAX_FORMAT); "
      "t.add(sys.argv[2], 'v'); t.close()\" " +
      out + " " + from + "/v");
  if (run("command -v bsdtar >/dev/null") == 0) check("bsdtar -C " + from + " -czf " + out + " v");
}

TEST_CASE("names are octets: what is no UTF-8 comes out as it went in") {
  const workplace w;
  w.unpack(version().file("v/latin1-\xe9", "x").bytes());
  CHECK(fs::exists(w.into() / "v/latin1-\xe9"));
}

TEST_CASE("UTF-8 names of pax headers come out as they are, in a program that never set a locale") {
  const workplace w;
  w.unpack(
      version().pax("path", "v/naïve-日本語-😀").file("v/x", "x").pax("linkpath", "日本語").symlink("v/l", "x").bytes());
  CHECK(fs::exists(w.into() / "v/naïve-日本語-😀"));
  CHECK(fs::read_symlink(w.into() / "v/l") == "日本語");
}

TEST_CASE("a pax name that is no UTF-8 is refused rather than changed, unless it is marked as octets") {
  const workplace w;
  CHECK(w.refusal(version().pax("path", "v/latin1-\xe9").file("v/x", "x")) == errc::malformed);
  const workplace u;
  u.unpack(version()
               .pax_records(tar_builder::pax_record("hdrcharset", "BINARY") +
                            tar_builder::pax_record("path", "v/latin1-\xe9"))
               .file("v/x", "x")
               .bytes());
  CHECK(fs::exists(u.into() / "v/latin1-\xe9"));
}

TEST_CASE("modes are those of the archive, whatever the umask") {
  for (mode_t mask : {0u, 022u, 077u, 0777u}) {
    const workplace w;
    CAPTURE(mask);
    const mode_t before = umask(mask);
    CHECK_NOTHROW(w.unpack(tar_builder()
                               .directory("v/", 0751)
                               .file("v/a", "x", 0666)
                               .file("v/b", "x", 0755)
                               .file("v/c", "x", 0)
                               .directory("v/d/", 01777)
                               .directory("v/e/", 0500)
                               .file("v/e/f", "x", 0400)
                               .bytes()));
    umask(before);
    const auto mode = [&](const char* name) { return status_of(w.into() / name).st_mode & 07777; };
    CHECK(mode("v") == 0751);
    CHECK(mode("v/a") == 0666);
    CHECK(mode("v/b") == 0755);
    CHECK(mode("v/c") == 0);
    CHECK(mode("v/d") == 01777);
    CHECK(mode("v/e") == 0500);
    CHECK(mode("v/e/f") == 0400);
  }
}

TEST_CASE("times are those of the archive to the nanosecond, of files, links and directories that were filled later") {
  const workplace w;
  w.unpack(version()
               .pax("mtime", "1234567890.123456789")
               .file("v/f", "x")
               .pax("mtime", "1234567891.5")
               .symlink("v/l", "f")
               .pax("mtime", "-5")
               .file("v/old", "x")
               .pax("mtime", "1234567892.25")
               .directory("v/d/")
               .file("v/d/f", "x")
               .directory("v/d/e/")
               .bytes());
  const auto time = [&](const char* name) {
    const timespec t = status_of(w.into() / name).st_mtim;
    return std::pair(std::int64_t{t.tv_sec}, std::int64_t{t.tv_nsec});
  };
  CHECK(time("v/f") == std::pair<std::int64_t, std::int64_t>(1234567890, 123456789));
  CHECK(time("v/l") == std::pair<std::int64_t, std::int64_t>(1234567891, 500000000));
  CHECK(time("v/old") == std::pair<std::int64_t, std::int64_t>(-5, 0));
  CHECK(time("v/d") == std::pair<std::int64_t, std::int64_t>(1234567892, 250000000));
  CHECK(time("v/d/e") == std::pair<std::int64_t, std::int64_t>(1000000000, 0));
  CHECK(time("v") == std::pair<std::int64_t, std::int64_t>(1000000000, 0));
}

TEST_CASE("directories that are not in the archive, or come after what they hold, are made all the same") {
  const workplace w;
  w.unpack(tar_builder().file("v/a/b/c", "x").directory("v/a/", 0700).directory("v/", 0711).bytes());
  CHECK(content_of(w.into() / "v/a/b/c") == "x");
  CHECK((status_of(w.into() / "v").st_mode & 07777) == 0711);
  CHECK((status_of(w.into() / "v/a").st_mode & 07777) == 0700);
  CHECK((status_of(w.into() / "v/a/b").st_mode & 07777) == 0755);
}

TEST_CASE("a directory that occurs twice is one directory; what the later entry says counts") {
  const workplace w;
  w.unpack(version().directory("v/d/", 0700).file("v/d/f", "x").directory("v/d/", 0750).bytes());
  CHECK((status_of(w.into() / "v/d").st_mode & 07777) == 0750);
}

TEST_CASE("a tree 250 directories deep needs few descriptors") {
  std::string path = "v";
  tar_builder t;
  for (int i = 0; i < 250; ++i) t.gnu_long('L', (path += "/d") + "/").directory("x/", 0700);
  t.gnu_long('L', path + "/file").file("x", "deep");
  const workplace w;
  child c([&](int) {
    const rlimit few{40, 40};
    if (setrlimit(RLIMIT_NOFILE, &few) != 0) return 1;
    w.unpack(t.bytes());
    return 0;
  });
  CHECK(c.wait() == 0);
  CHECK(content_of(w.into() / path / "file") == "deep");
}

TEST_CASE("symbolic links inside of the package and absolute ones are kept as they are, dangling ones too") {
  const workplace w;
  const char* const texts[] = {"f", "d/../f", "../v2", "/var/lib/app", "/dev/null", "nowhere", "d/", "./f"};
  tar_builder t = version().directory("v/d/").directory("v/e/").file("v/f", "x");
  for (int i = 0; const char* text : texts) t.symlink("v/e/" + std::to_string(i++), text);
  CHECK(w.refusal(t) == errc::success);
  for (int i = 0; const char* text : texts) CHECK(fs::read_symlink(w.into() / "v/e" / std::to_string(i++)) == text);
}

TEST_CASE("hard links inside of the package are one file") {
  const workplace w;
  w.unpack(version().file("v/a", "x").directory("v/d/").hard_link("v/d/b", "v/a").hard_link("v/c", "./v//d/b").bytes());
  CHECK(status_of(w.into() / "v/a").st_nlink == 3);
  CHECK(status_of(w.into() / "v/c").st_ino == status_of(w.into() / "v/a").st_ino);
}

TEST_CASE("holes stay holes, in the sparse formats of GNU tar") {
  temporary_directory source;
  fs::create_directory(source / "v");
  {
    const unique_fd fd = open_file(source / "v/sparse", O_RDWR | O_CREAT, 0644);
    REQUIRE(ftruncate(fd.get(), 50 << 20) == 0);
    REQUIRE(pwrite(fd.get(), "begin", 5, 0) == 5);
    REQUIRE(pwrite(fd.get(), "middle", 6, 20 << 20) == 6);
    const unique_fd hole = open_file(source / "v/hole", O_RDWR | O_CREAT, 0644);
    REQUIRE(ftruncate(hole.get(), 10 << 20) == 0);
  }
  for (const char* format : {"--format=gnu", "--format=posix --sparse-version=0.0",
                             "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"}) {
    CAPTURE(format);
    const std::string out = (source / "a").string();
    REQUIRE(run("tar -C " + source.path().string() + " -S " + format + " -czf " + out + " v") == 0);
    const workplace w;
    const auto done = unpack_file(w, out);
    CHECK(content_of(w.into() / "v/sparse") == content_of(source / "v/sparse"));
    CHECK(content_of(w.into() / "v/hole") == content_of(source / "v/hole"));
    CHECK(status_of(w.into() / "v/sparse").st_blocks * 512 < 1 << 20);
    CHECK(done.bytes == 60 << 20);
    CHECK(done.written < 1 << 20);
  }
}

TEST_CASE(
    "as root: owners are the numeric ones of the archive, setuid and setgid stay, capabilities survive the chown") {
  if (!is_root()) return test::skip("needs root");
  temporary_directory source;
  put(source / "v/suid", "x");
  put(source / "v/capable", "x");
  REQUIRE(chown((source / "v/suid").c_str(), 1234, 5678) == 0);
  REQUIRE(chmod((source / "v/suid").c_str(), 06755) == 0);
  REQUIRE(chown((source / "v/capable").c_str(), 1234, 5678) == 0);
  const vfs_cap_data cap = {.magic_etc = VFS_CAP_REVISION_2,
                            .data = {{.permitted = 1 << CAP_NET_BIND_SERVICE, .inheritable = 0}, {}}};
  REQUIRE(setxattr((source / "v/capable").c_str(), "security.capability", &cap, sizeof cap, 0) == 0);
  const std::string out = (source / "a").string();
  REQUIRE(run("tar -C " + source.path().string() + " --xattrs --xattrs-include='*' -czf " + out + " v") == 0);
  const workplace w;
  unpack_file(w, out);
  const struct stat suid = status_of(w.into() / "v/suid");
  CHECK(suid.st_uid == 1234);
  CHECK(suid.st_gid == 5678);
  CHECK((suid.st_mode & 07777) == 06755);
  CHECK(attribute(w.into() / "v/capable", "security.capability") ==
        attribute(source / "v/capable", "security.capability"));
  CHECK_FALSE(attribute(w.into() / "v/capable", "security.capability").empty());

  SUBCASE("without keep_owner files are ours, without setuid") {
    const workplace u;
    unpack_file(u, out, {.keep_owner = false});
    CHECK(status_of(u.into() / "v/suid").st_uid == 0);
    CHECK((status_of(u.into() / "v/suid").st_mode & 07777) == 0755);
  }
}

TEST_CASE("as another user: files are ours, without setuid, without a word; everything else is kept") {
  if (!is_root()) return test::skip("needs root");
  const workplace w;
  const std::string data = gzip(version()
                                    .add({.name = "v/suid", .content = "x", .mode = 06755, .uid = 0, .gid = 0})
                                    .directory("v/d/", 0500)
                                    .file("v/d/f", "x", 0400)
                                    .symlink("v/l", "f")
                                    .bytes());
  const int status = as_nobody(w.top(), [&] {
    int warnings = 0;
    archive::extract(memory_reader{data}, open_file(w.into(), O_RDONLY | O_DIRECTORY),
                     {.log = [&](log_level level, std::string_view) { warnings += level >= log_level::warning; }});
    return warnings;
  });
  CHECK(status == 0);
  const struct stat suid = status_of(w.into() / "v/suid");
  CHECK(suid.st_uid == 65534);
  CHECK((suid.st_mode & 07777) == 0755);
  CHECK((status_of(w.into() / "v/d").st_mode & 07777) == 0500);
  CHECK(content_of(w.into() / "v/d/f") == "x");
}

TEST_CASE("extended attributes and ACLs are kept, of files and directories") {
  temporary_directory source;
  put(source / "v/f", "x");
  fs::create_directory(source / "v/d");
  const std::string from = source.path().string();
  if (setxattr((source / "v/f").c_str(), "user.colour", "blue", 4, 0) != 0) return;  // a file system without
  REQUIRE(setxattr((source / "v/d").c_str(), "user.binary", "\0\xff\n=", 4, 0) == 0);
  REQUIRE(run("setfacl -m u:1234:rw,g:5678:r " + from + "/v/f && setfacl -m u:1234:rwx -d -m g:5678:rx " + from +
              "/v/d") == 0);
  const std::string out = (source / "a").string();
  std::vector<std::string> commands = {"tar -C " + from + " --xattrs --acls -czf " + out + " v"};
  if (run("command -v bsdtar >/dev/null") == 0) commands.push_back("bsdtar -C " + from + " -czf " + out + " v");
  for (const std::string& command : commands) {
    CAPTURE(command);
    REQUIRE(run(command) == 0);
    const workplace w;
    unpack_file(w, out);
    for (const char* name : {"user.colour", "system.posix_acl_access"})
      CHECK(attribute(w.into() / "v/f", name) == attribute(source / "v/f", name));
    for (const char* name : {"user.binary", "system.posix_acl_access", "system.posix_acl_default"})
      CHECK(attribute(w.into() / "v/d", name) == attribute(source / "v/d", name));
    CHECK_FALSE(attribute(w.into() / "v/f", "system.posix_acl_access").empty());
  }
}

TEST_CASE("a default ACL of the place that is unpacked into is not handed down") {
  const workplace w;
  if (run("setfacl -d -m u:1234:rwx,o:rwx " + w.into().string() + " 2>/dev/null") != 0) return;
  w.unpack(version().file("v/f", "x", 0640).directory("v/d/", 0750).bytes());
  CHECK(attribute(w.into() / "v/f", "system.posix_acl_access").empty());
  CHECK(attribute(w.into() / "v/d", "system.posix_acl_default").empty());
  CHECK((status_of(w.into() / "v/f").st_mode & 07777) == 0640);
}

TEST_CASE("a setgid directory to unpack into hands nothing down") {
  if (!is_root()) return test::skip("needs root");
  const workplace w;
  REQUIRE(chown(w.into().c_str(), 0, 5678) == 0);
  REQUIRE(chmod(w.into().c_str(), 02775) == 0);
  w.unpack(version().file("v/f", "x").directory("v/d/", 0750).file("v/d/g", "x").symlink("v/l", "f").bytes());
  for (const char* name : {"v", "v/f", "v/d", "v/d/g", "v/l"}) CHECK(status_of(w.into() / name).st_gid == 0);
  CHECK((status_of(w.into() / "v/d").st_mode & 07777) == 0750);
}

TEST_CASE("an attribute that cannot be kept is a warning with the path, said once") {
  const workplace w;
  std::vector<std::string> warnings;
  tar_builder t = version();
  for (const char* name : {"v/a", "v/b", "v/c"}) t.pax("SCHILY.xattr.nonsense.name", "x").file(name, "x");
  w.unpack(t.bytes(), {.log = [&](log_level level, std::string_view line) {
             if (level == log_level::warning) warnings.emplace_back(line);
           }});
  REQUIRE(warnings.size() == 2);
  CHECK(warnings[0].find("nonsense.name") != std::string::npos);
  CHECK(warnings[0].find("v/a") != std::string::npos);
  CHECK(warnings[1].find("3 entries") != std::string::npos);
}

TEST_CASE("attributes of a file that nobody may write to are kept, also as its ordinary owner") {
  if (!is_root()) return test::skip("needs root");
  const workplace w;
  const std::string data = gzip(version().pax("SCHILY.xattr.user.a", "1").file("v/f", "x", 0444).bytes());
  CHECK(as_nobody(w.top(), [&] {
          archive::extract(memory_reader{data}, open_file(w.into(), O_RDONLY | O_DIRECTORY));
          return 0;
        }) == 0);
  CHECK(attribute(w.into() / "v/f", "user.a") == "1");
  CHECK((status_of(w.into() / "v/f").st_mode & 07777) == 0444);
}

TEST_CASE(
    "peak memory for 2 GB of content stays below 24 MiB, whether it is written, shared or packed with a large window") {
  const workplace w;
  constexpr std::uint64_t size = UINT64_C(2) << 30, part = 64 << 20;
  const std::string zeros(part, '\0');
  for (codec::format f : {codec::format::gzip, codec::format::zstd}) {
    const auto packed = [&](const std::string& data) {
      byte_vector out;
      codec::compressor z(vector_writer{out}, f, f == codec::format::gzip ? 1 : 19);
      z.write(as_bytes(data));
      z.finish();
      return std::string(as_text(out));
    };
    std::string package =
        packed(version().open_bytes() + tar_builder::header({.name = "v/zeros", .claimed_size = size}));
    const std::string member = packed(zeros);
    for (std::uint64_t i = 0; i < size / part; ++i) package += member;
    put(w.top() / "package", package + packed(std::string(1024, '\0')));
    // Compared with an equal file that is one hole, so that nothing is written.
    put(w.top() / "old/zeros", "");
    fs::resize_file(w.top() / "old/zeros", size);
    const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000, 0}};
    REQUIRE(utimensat(AT_FDCWD, (w.top() / "old/zeros").c_str(), times, 0) == 0);
    CHECK(peak_of_unpacking(w.top().string() + "/package " + w.into().string() + " " + w.top().string() + "/old") <
          peak_allowed());
    CHECK(status_of(w.into() / "v/zeros").st_nlink == 2);
    fs::remove_all(w.into() / "v");
  }
}
