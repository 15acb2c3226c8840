/// @file watched.hpp  Octets on their way: counted for whoever watches, and stopped when the caller asks.
/// Threads: an object belongs to the thread that reads or writes through it; a stop may be asked for by any thread.
/// Errors:  cancelled, and what the other end and the sink throw.
#pragma once

#include <fussy/io.hpp>
#include <fussy/progress.hpp>

#include <algorithm>
#include <cstdint>
#include <stop_token>

namespace fussy::base {

/// @throws cancelled  a stop is asked for. @param what  that is done, for the message
inline void obey(const std::stop_token& stop, const char* what) {
  if (stop.stop_requested())
    throw error(errc::cancelled,
                {.what = what, .why = "the caller asked to stop", .remedy = "start it again when it suits"});
}

/// Tells the sink how far it is, some hundred times and not a million, and obeys the stop token.
class watch {
public:
  watch(progress state, progress_sink sink, std::stop_token stop)
      : state_(state), sink_(std::move(sink)), stop_(std::move(stop)) {}

  void obey(const char* what) const { base::obey(stop_, what); }
  /// @param last  says so in any case
  void count(std::uint64_t n, bool last) {
    state_.done += n;
    if (!sink_ || (state_.done < next_ && !last)) return;
    sink_(state_);
    next_ = state_.done + std::max<std::uint64_t>(state_.total / 100, 1 << 20);
  }

private:
  progress state_;
  std::uint64_t next_ = 0;
  progress_sink sink_;
  std::stop_token stop_;
};

/// Passes on what is read.
class watched_reader {
public:
  /// @param state  phase and total, and how much of that is done when this begins
  watched_reader(any_reader upstream, progress state, progress_sink sink, std::stop_token stop)
      : upstream_(std::move(upstream)), watch_(state, std::move(sink), std::move(stop)) {}

  std::size_t read(byte_span room) {
    watch_.obey("reading the package");
    const std::size_t n = upstream_.read(room);
    watch_.count(n, n == 0);
    return n;
  }

private:
  any_reader upstream_;
  watch watch_;
};

/// Passes on what is written.
class watched_writer {
public:
  watched_writer(any_writer downstream, progress state, progress_sink sink, std::stop_token stop)
      : downstream_(std::move(downstream)), watch_(state, std::move(sink), std::move(stop)) {}

  void write(byte_view bytes) {
    watch_.obey("writing the package");
    downstream_.write(bytes);
    watch_.count(bytes.size(), false);
  }
  /// No more comes.
  void finish() { watch_.count(0, true); }

private:
  any_writer downstream_;
  watch watch_;
};

}  // namespace fussy::base
