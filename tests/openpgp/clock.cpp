// A device without a clock: time begins anew at every start, and packages still install, and expiry still counts.
// This program has a clock_gettime of its own, which the standard library's system_clock asks.
#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "forge.hpp"
#include "openpgp/build_time.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using namespace test;

namespace {

constexpr long long no_clock = -1;
std::atomic<long long> device_clock{no_clock};  // seconds since 1970, or the real one

/// What the device's clock says while this lives.
struct clock_says {
  explicit clock_says(long long seconds) { device_clock = seconds; }
  ~clock_says() { device_clock = no_clock; }
};

}  // namespace

namespace {

template <class Timespec>
int gettime(long number, clockid_t which, Timespec* out) noexcept {
  const long long seconds = device_clock;
  if (which != CLOCK_REALTIME || seconds == no_clock) return static_cast<int>(::syscall(number, which, out));
  *out = {};
  out->tv_sec = static_cast<decltype(out->tv_sec)>(seconds);
  return 0;
}

}  // namespace

#ifdef SYS_clock_gettime64
// Here time_t has 64 bits and the function another name, but the standard library may be older.
struct timespec_of_32_bits {
  long tv_sec, tv_nsec;
};
extern "C" int clock_gettime_of_32_bits(clockid_t which, timespec_of_32_bits* out) noexcept __asm__("clock_gettime");
int clock_gettime_of_32_bits(clockid_t which, timespec_of_32_bits* out) noexcept {
  return gettime(SYS_clock_gettime, which, out);
}
extern "C" int clock_gettime(clockid_t which, timespec* out) noexcept {
  return gettime(SYS_clock_gettime64, which, out);
}
#else
extern "C" int clock_gettime(clockid_t which, timespec* out) noexcept {
  return gettime(SYS_clock_gettime, which, out);
}
#endif

TEST_SUITE_BEGIN("openpgp: a device without a clock");

TEST_CASE("the clock of this program can be set") {
  const clock_says at_start(1000);
  CHECK(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()) == 1000);
}

TEST_CASE("time is never earlier than the build of the library and the newest self-signature of the ring") {
  const secret_key old_key = make_key(), new_key = make_key(build_time + 50 * day);
  const keyring old_ring = ring_of(plain_certificate(old_key));
  const keyring renewed =
      ring_of(plain_certificate(old_key) + primary_packet(new_key) +
              certified(new_key, created(build_time + 100 * day) + key_flags(3), "New <n@example.org>"));
  const clock_says at_start(0);
  CHECK(old_ring.internals().now({}) == at(build_time));
  CHECK(renewed.internals().now({}) == at(build_time + 100 * day));
  device_clock = build_time + 200 * day;  // the clock was set meanwhile
  CHECK(renewed.internals().now({}) == at(build_time + 200 * day));
  CHECK(renewed.internals().now({.now = at(5)}) == at(5));
}

TEST_CASE(
    "a device whose clock stands at 1970 accepts what was signed since, and judges expiry by the signature's date") {
  const secret_key key = make_key();
  const byte_vector for_a_year = created(epoch) + key_flags(3) + key_expires(365 * day);
  const keyring ring = ring_of(primary_packet(key) + certified(key, for_a_year));
  const secret_key lasting_key = make_key();
  const keyring lasting = ring_of(plain_certificate(lasting_key));
  for (const long long clock : {0LL, epoch - 10 * day, epoch + 10 * day, epoch + 4000 * day}) {
    CAPTURE(clock);
    const clock_says wrong(clock);
    CHECK(read_signed(key, ring, {}, epoch + 100 * day).message == "");
    CHECK(read_signed(key, ring, {}, epoch + 400 * day).code == errc::key_expired);
    CHECK(read_signed(key, ring, {.ignore_expiry = true}, epoch + 400 * day).message == "");
    CHECK(read_signed(lasting_key, lasting, {}, build_time + 30 * day).message == "");  // from the future, as it seems
  }
}

TEST_CASE("a revocation counts whatever the clock says") {
  const secret_key key = make_key();
  const keyring ring = ring_of(primary_packet(key) + revocation(key, key.key, created(build_time + day) + reason(2)) +
                               certified(key, created(epoch) + key_flags(3)));
  for (const long long clock : {0LL, epoch, build_time + 1000 * day}) {
    const clock_says wrong(clock);
    CHECK(read_signed(key, ring).code == errc::key_revoked);
    CHECK(read_signed(key, ring, {.ignore_expiry = true}).code == errc::key_revoked);
  }
}

TEST_CASE("a signature that expires is refused once the ring or the build show that its time is over") {
  const secret_key key = make_key();
  const keyring ring = ring_of(plain_certificate(key));
  const byte_vector one_pass = sign(key, "content").one_pass;
  const auto made = [&](long long when, long long lasts) {
    return one_pass + literal("content") +
           signature_packet(signature_body(key, signature_type::binary, to_octets("content"),
                                           created(when) + subpacket(3, number(static_cast<std::uint64_t>(lasts), 4))));
  };
  const clock_says at_start(0);
  CHECK(read(byte_view(made(epoch, day)), ring).code == errc::signature_expired);  // long before the build
  CHECK(read(byte_view(made(build_time - 10, day)), ring).message == "");
}

TEST_SUITE_END();
