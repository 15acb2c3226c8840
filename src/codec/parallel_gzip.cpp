#include "parallel_gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>

namespace fussy::codec {

namespace {

constexpr std::size_t block_size = 128 * 1024, dictionary_size = 32 * 1024;
constexpr unsigned threads_max = 8;  // more only wait for the reading of files

// One raw deflate stream, used for one block after the other.
class block_deflater {
public:
  explicit block_deflater(int level) {
    if (deflateInit2(&z_, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  }
  ~block_deflater() { deflateEnd(&z_); }
  block_deflater(const block_deflater&) = delete;
  block_deflater& operator=(const block_deflater&) = delete;

  byte_vector run(byte_view input, byte_view dictionary, bool last) {
    deflateReset(&z_);
    if (!dictionary.empty()) deflateSetDictionary(&z_, as_uint8(dictionary), static_cast<uInt>(dictionary.size()));
    // A sync flush ends on a whole octet, so that blocks can be joined; it adds an empty stored block.
    byte_vector output(deflateBound(&z_, static_cast<uLong>(input.size())) + 64);
    z_.next_in = const_cast<Bytef*>(as_uint8(input));
    z_.avail_in = static_cast<uInt>(input.size());
    z_.next_out = as_uint8(byte_span(output));
    z_.avail_out = static_cast<uInt>(output.size());
    deflate(&z_, last ? Z_FINISH : Z_SYNC_FLUSH);
    output.resize(output.size() - z_.avail_out);
    return output;
  }

private:
  z_stream z_ = {};
};

}  // namespace

parallel_gzip::parallel_gzip(any_writer to, int level) : to_(std::move(to)), level_(level) {
  filling_.reserve(block_size);
  // No name, no time, made on Unix (RFC 1952, 2.3.1).
  constexpr std::array<std::uint8_t, 10> header = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
  to_.write(as_bytes(header.data(), header.size()));
}

parallel_gzip::~parallel_gzip() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void parallel_gzip::write(byte_view bytes) {
  while (!bytes.empty()) {
    if (filling_.size() == block_size) submit(false);
    const byte_view part = bytes.first(std::min(bytes.size(), block_size - filling_.size()));
    filling_.insert(filling_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
  }
}

void parallel_gzip::finish() {
  submit(true);
  while (!jobs_.empty()) write_front();
  write_number(sum_);
  write_number(size_);
}

void parallel_gzip::submit(bool last) {
  if (threads_.empty()) start_threads();
  while (jobs_.size() > 2 * threads_.size()) write_front();
  auto next = std::make_unique<job>();
  next->input = std::move(filling_);
  next->dictionary = std::move(dictionary_);
  next->last = last;
  const byte_view tail = byte_view(next->input).last(std::min(next->input.size(), dictionary_size));
  dictionary_.assign(tail.begin(), tail.end());
  filling_ = byte_vector();
  filling_.reserve(block_size);
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(next.get());
    jobs_.push_back(std::move(next));
  }
  changed_.notify_all();
}

// Waits for the oldest block and writes it.
void parallel_gzip::write_front() {
  job& front = *jobs_.front();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return front.complete; });
  }
  if (front.problem) std::rethrow_exception(front.problem);
  to_.write(front.output);
  const auto size = static_cast<std::uint32_t>(front.input.size());
  sum_ = static_cast<std::uint32_t>(crc32_combine(sum_, front.sum, static_cast<z_off_t>(size)));
  size_ += size;
  jobs_.pop_front();
}

void parallel_gzip::start_threads() {
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, threads_max);
  for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

void parallel_gzip::work() noexcept {
  std::unique_ptr<block_deflater> deflater;
  for (;;) {
    job* mine = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (stop_) return;
      mine = waiting_.front();
      waiting_.pop_front();
    }
    try {
      if (!deflater) deflater = std::make_unique<block_deflater>(level_);
      mine->output = deflater->run(mine->input, mine->dictionary, mine->last);
      mine->sum = static_cast<std::uint32_t>(crc32_z(0, as_uint8(byte_view(mine->input)), mine->input.size()));
    } catch (...) {
      mine->problem = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      mine->complete = true;
    }
    changed_.notify_all();
  }
}

void parallel_gzip::write_number(std::uint32_t value) {
  std::array<std::uint8_t, 4> octets;
  for (std::uint8_t& o : octets) o = static_cast<std::uint8_t>(value & 0xff), value >>= 8;
  to_.write(as_bytes(octets.data(), octets.size()));
}

}  // namespace fussy::codec
