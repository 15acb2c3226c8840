// base: errors, owned descriptors, readers and writers, read-ahead.
#include <doctest/doctest.h>
#include <fussy/error.hpp>
#include <fussy/io.hpp>
#include <fussy/log.hpp>
#include <fussy/progress.hpp>

#include <sys/stat.h>

#include <atomic>
#include <string>

using namespace fussy;

namespace {
std::string text_of(auto&& r) {
  const byte_vector all = read_all(r);
  return std::string(as_text(all));
}
struct failing_reader {
  std::string before;
  bool done = false;
  std::size_t read(byte_span room) {
    if (done) throw error(errc::truncated, "the line went dead");
    done = true;
    const std::size_t n = std::min(room.size(), before.size());
    std::copy_n(as_bytes(before).begin(), n, room.begin());
    return n;
  }
};
struct one_byte_reader {
  memory_reader inner;
  std::size_t read(byte_span room) { return inner.read(room.first(1)); }
};
struct upper {
  using reader_adaptor = void;
  struct filter {
    any_reader up;
    std::size_t read(byte_span room) {
      const std::size_t n = up.read(room);
      for (std::byte& b : room.first(n)) b = static_cast<std::byte>(std::toupper(std::to_integer<int>(b)));
      return n;
    }
  };
  filter operator()(any_reader up) const { return {std::move(up)}; }
};
}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("the exit status of every family is the number divided by 100") {
  CHECK(exit_status(errc::success) == 0);
  CHECK(exit_status(errc::failure) == 2);
  CHECK(exit_status(errc::resource_limit) == 2);
  CHECK(exit_status(errc::reverted) == 3);
  CHECK(exit_status(errc::unrecoverable) == 4);
  CHECK(exit_status(errc::signer_not_allowed) == 20);
  CHECK(exit_status(errc::too_large) == 21);
  CHECK(exit_status(errc::missing_program) == 40);
}

TEST_CASE("a message reads what, why, what to do") {
  const error e(errc::busy, {.what = "target /opt/firmware is busy",
                             .why = "another install (PID 4711) holds it",
                             .remedy = "retry when it has finished",
                             .path = "/opt/firmware"});
  CHECK(std::string(e.what()) ==
        "target /opt/firmware is busy: another install (PID 4711) holds it; retry when it has finished");
  CHECK(e.code() == errc::busy);
  CHECK(e.cause() == errc::busy);
  const error copy = e;
  CHECK(copy.parts().path == "/opt/firmware");
}

TEST_CASE("a failed system call says what, on which path, and its errno") {
  try {
    open_file("/nonexistent/file", O_RDONLY);
    FAIL("opened a file that does not exist");
  } catch (const error& e) {
    CHECK(e.code() == errc::not_found);
    CHECK(e.parts().system == ENOENT);
    CHECK(e.parts().path == "/nonexistent/file");
    CHECK(std::string(e.what()).find("cannot open /nonexistent/file: ") == 0);
  }
}

TEST_CASE("a unique_fd closes once, and gives away on release") {
  int raw = -1;
  {
    unique_fd fd = open_file("/dev/null", O_RDONLY);
    raw = fd.get();
    unique_fd moved = std::move(fd);
    CHECK(!fd);  // NOLINT: moved-from is empty by contract
    CHECK(moved.get() == raw);
    CHECK((::fcntl(raw, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(::fcntl(raw, F_GETFD) == -1);
  unique_fd fd = open_file("/dev/null", O_RDONLY);
  raw = fd.release();
  fd.reset();
  CHECK(::fcntl(raw, F_GETFD) != -1);
  ::close(raw);
}

TEST_CASE("readers compose with adaptors from left to right") {
  CHECK(text_of(memory_reader("abc") | upper()) == "ABC");
  CHECK(text_of(memory_reader("abc") | read_ahead() | upper()) == "ABC");
  CHECK(text_of(one_byte_reader{memory_reader("hello")} | upper() | read_ahead{2}) == "HELLO");
}

TEST_CASE("read_all refuses more than its limit") {
  memory_reader r("0123456789");
  CHECK_THROWS_AS(read_all(r, 9), error);
}

TEST_CASE("copy moves everything from a reader to a writer") {
  byte_vector out;
  memory_reader from("0123456789");
  vector_writer to(out);
  CHECK(copy(from, to, 3) == 10);
  CHECK(as_text(out) == "0123456789");
}

TEST_CASE("writing to a full device is an error with the cause no_space") {
  file_writer full(open_file("/dev/full", O_WRONLY), "/dev/full");
  try {
    full.write(as_bytes("x"));
    FAIL("wrote to a full device");
  } catch (const error& e) {
    CHECK(e.code() == errc::no_space);
  }
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("read_ahead");

TEST_CASE("what is read ahead arrives whole and in order") {
  std::string text(3'000'001, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + (i >> 8));
  CHECK(text_of(memory_reader(text) | read_ahead{64 * 1024}) == text);
}

TEST_CASE("an exception upstream arrives after the octets that came before it") {
  auto r = failing_reader{"before"} | read_ahead();
  std::byte room[16];
  CHECK(r.read(room) == 6);
  CHECK_THROWS_AS(r.read(room), error);
}

TEST_CASE("the end stays the end") {
  auto r = memory_reader("x") | read_ahead();
  std::byte room[4];
  CHECK(r.read(room) == 1);
  CHECK(r.read(room) == 0);
  CHECK(r.read(room) == 0);
}

TEST_CASE("a reader given up half-way stops its thread") {
  auto r = file_reader(open_file("/dev/zero", O_RDONLY)) | read_ahead{4096};
  std::byte room[10];
  CHECK(r.read(room) == 10);
}

TEST_SUITE_END();
