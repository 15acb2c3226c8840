/// @file parallel_gzip.hpp  gzip compression on all cores. Blocks are compressed independently, each with the 32 KiB
/// before it as its dictionary, and joined to one ordinary gzip member: the same octets however many threads there are.
/// Threads: the writer is only called from the thread that calls write() and finish().
/// Errors:  what the writer throws; std::bad_alloc.
#pragma once

#include <fussy/io.hpp>

#include <deque>
#include <vector>

namespace fussy::codec {

class parallel_gzip {
public:
  /// @param level  1 to 9, or -1 for the default.
  parallel_gzip(any_writer to, int level);
  parallel_gzip(const parallel_gzip&) = delete;
  parallel_gzip& operator=(const parallel_gzip&) = delete;
  ~parallel_gzip();

  void write(byte_view bytes);
  void finish();

private:
  struct job {
    byte_vector input;
    byte_vector dictionary;
    bool last = false;
    byte_vector output;
    std::uint32_t sum = 0;
    bool complete = false;
    std::exception_ptr problem;
  };

  void submit(bool last);
  void write_front();
  void start_threads();
  void work() noexcept;
  void write_number(std::uint32_t value);

  any_writer to_;
  const int level_;
  byte_vector filling_, dictionary_;
  std::uint32_t sum_ = 0, size_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<job>> jobs_;  // in order; the front is written first
  std::deque<job*> waiting_;               // not yet taken by a thread
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fussy::codec
