/// @file io.hpp  Owned descriptors, byte readers and writers, and how they compose with `|`.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error with the path (where known) and the errno; std::bad_alloc.
#pragma once

#include <fcntl.h>
#include <fussy/bytes.hpp>
#include <fussy/error.hpp>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace fussy {

/// Calls `call` until it fails with something else than EINTR, or succeeds.
template <class Call>
auto retry_eintr(Call&& call) noexcept(noexcept(call())) {
  for (;;) {
    auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

/// Owns a file descriptor and closes it. Empty is -1.
class unique_fd {
 public:
  unique_fd() noexcept = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~unique_fd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor away; the caller closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes what it owns and owns `fd` instead. Keeps errno. close(2) is not retried: on Linux the descriptor is gone.
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0 && fd_ != fd) {
      const int saved = errno;
      ::close(fd_);
      errno = saved;
    }
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// Opens with O_CLOEXEC added. @throws not_found, io … with the path.
inline unique_fd open_file(const std::filesystem::path& path, int flags, mode_t mode = 0) {
  unique_fd fd(retry_eintr([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
  if (!fd) throw system_error("cannot open", errno, path.string());
  return fd;
}

/// Something octets can be read from. `read` blocks until it has at least one; 0 is the end (and stays the end);
/// a failure throws. `room` is never empty.
template <class R>
concept reader = requires(R& r, byte_span room) {
  { r.read(room) } -> std::same_as<std::size_t>;
};

/// Something octets can be written to. `write` takes all of them or throws.
template <class W>
concept writer = requires(W& w, byte_view bytes) {
  { w.write(bytes) } -> std::same_as<void>;
};

/// Owns any reader, by value: what the compiled rooms take. Move only. Empty until given one.
class any_reader {
 public:
  any_reader() noexcept = default;
  template <class R>
    requires(reader<R> && !std::same_as<R, any_reader>)
  any_reader(R r) : self_(std::make_unique<model<R>>(std::move(r))) {}  // NOLINT: converting on purpose

  std::size_t read(byte_span room) { return self_->read(room); }
  explicit operator bool() const noexcept { return self_ != nullptr; }

 private:
  struct base {
    virtual ~base() = default;
    virtual std::size_t read(byte_span) = 0;
  };
  template <class R>
  struct model final : base {
    explicit model(R&& r) : reader_(std::move(r)) {}
    std::size_t read(byte_span room) override { return reader_.read(room); }
    R reader_;
  };
  std::unique_ptr<base> self_;
};

/// Owns any writer, by value.
class any_writer {
 public:
  any_writer() noexcept = default;
  template <class W>
    requires(writer<W> && !std::same_as<W, any_writer>)
  any_writer(W w) : self_(std::make_unique<model<W>>(std::move(w))) {}  // NOLINT: converting on purpose

  void write(byte_view bytes) { self_->write(bytes); }
  explicit operator bool() const noexcept { return self_ != nullptr; }

 private:
  struct base {
    virtual ~base() = default;
    virtual void write(byte_view) = 0;
  };
  template <class W>
  struct model final : base {
    explicit model(W&& w) : writer_(std::move(w)) {}
    void write(byte_view bytes) override { writer_.write(bytes); }
    W writer_;
  };
  std::unique_ptr<base> self_;
};

/// A view on a reader (or writer) that somebody else owns and that outlives it.
template <class R>
class by_reference {
 public:
  explicit by_reference(R& r) noexcept : target_(&r) {}
  std::size_t read(byte_span room)
    requires reader<R>
  {
    return target_->read(room);
  }
  void write(byte_view bytes)
    requires writer<R>
  {
    target_->write(bytes);
  }

 private:
  R* target_;
};

/// Reads a descriptor. Owns it when made from a unique_fd; does not when made from an int.
class file_reader {
 public:
  explicit file_reader(unique_fd fd, std::string path = {})
      : owned_(std::move(fd)), fd_(owned_.get()), path_(std::move(path)) {}
  explicit file_reader(int fd, std::string path = {}) noexcept : fd_(fd), path_(std::move(path)) {}
  explicit file_reader(const std::filesystem::path& path)
      : file_reader(open_file(path, O_RDONLY), path.string()) {}

  std::size_t read(byte_span room) {
    const ssize_t n = retry_eintr([&] { return ::read(fd_, room.data(), room.size()); });
    if (n < 0) throw system_error("cannot read", errno, path_);
    return static_cast<std::size_t>(n);
  }
  int fd() const noexcept { return fd_; }

 private:
  unique_fd owned_;
  int fd_;
  std::string path_;
};

/// Writes a descriptor; owns it or not, as file_reader.
class file_writer {
 public:
  explicit file_writer(unique_fd fd, std::string path = {})
      : owned_(std::move(fd)), fd_(owned_.get()), path_(std::move(path)) {}
  explicit file_writer(int fd, std::string path = {}) noexcept : fd_(fd), path_(std::move(path)) {}

  void write(byte_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = retry_eintr([&] { return ::write(fd_, bytes.data(), bytes.size()); });
      if (n < 0) throw system_error("cannot write", errno, path_);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  int fd() const noexcept { return fd_; }

 private:
  unique_fd owned_;
  int fd_;
  std::string path_;
};

/// Reads octets in memory that somebody else owns.
class memory_reader {
 public:
  explicit memory_reader(byte_view bytes) noexcept : rest_(bytes) {}
  explicit memory_reader(std::string_view text) noexcept : rest_(as_bytes(text)) {}
  std::size_t read(byte_span room) noexcept {
    const std::size_t n = std::min(room.size(), rest_.size());
    std::copy_n(rest_.begin(), n, room.begin());
    rest_ = rest_.subspan(n);
    return n;
  }

 private:
  byte_view rest_;
};

/// Appends to a vector that somebody else owns.
class vector_writer {
 public:
  explicit vector_writer(byte_vector& out) noexcept : out_(&out) {}
  void write(byte_view bytes) { out_->insert(out_->end(), bytes.begin(), bytes.end()); }

 private:
  byte_vector* out_;
};

/// Fills all of `room`, or less at the end. @return octets read.
template <reader R>
std::size_t read_full(R& r, byte_span room) {
  std::size_t done = 0;
  while (done < room.size()) {
    const std::size_t n = r.read(room.subspan(done));
    if (n == 0) break;
    done += n;
  }
  return done;
}

/// Everything up to the end, at most `max` octets. @throws too_large behind that.
template <reader R>
byte_vector read_all(R&& r, std::size_t max = SIZE_MAX) {
  constexpr std::size_t block = 64 * 1024;
  byte_vector out;
  for (;;) {
    const std::size_t size = out.size();
    out.resize(size + block);
    const std::size_t n = r.read(byte_span(out).subspan(size));
    out.resize(size + n);
    if (n == 0) return out;
    if (out.size() > max) throw error(errc::too_large, "more than " + std::to_string(max) + " bytes to read");
  }
}

/// Moves everything from a reader to a writer. @return octets moved.
template <reader R, writer W>
std::uint64_t copy(R& from, W& to, std::size_t block = 256 * 1024) {
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(block);
  std::uint64_t total = 0;
  while (const std::size_t n = from.read({buffer.get(), block})) {
    to.write({buffer.get(), n});
    total += n;
  }
  return total;
}

/// What may stand right of a reader: `file_reader{fd} | openpgp::open(keys) | archive::extract(into)`. An adaptor is a
/// class with `using reader_adaptor = void;` that is called with the any_reader on its left.
template <class A>
concept reader_adaptor = requires { typename std::remove_cvref_t<A>::reader_adaptor; } &&
                         std::invocable<std::remove_cvref_t<A>, any_reader>;

template <class R, reader_adaptor A>
  requires(reader<std::remove_cvref_t<R>> && !std::is_lvalue_reference_v<R>)
auto operator|(R&& upstream, A&& adaptor) {
  return std::forward<A>(adaptor)(any_reader(std::forward<R>(upstream)));
}

/// Runs what is upstream of it on a thread of its own, at most `capacity` octets ahead. That is how two cores work on
/// one install. An exception of the upstream arrives at the reader after the octets that came before it. Destroying it
/// stops the thread as soon as the upstream's current read returns.
class read_ahead_reader {
 public:
  explicit read_ahead_reader(any_reader upstream, std::size_t capacity = 1 << 20, std::size_t blocks = 4)
      : state_(std::make_unique<state>(std::move(upstream), std::max<std::size_t>(capacity / blocks, 1), blocks)) {}

  std::size_t read(byte_span room) { return state_->read(room); }

 private:
  // A ring of blocks: the thread fills whole blocks without the lock, so both sides copy at memory speed.
  struct block {
    std::unique_ptr<std::byte[]> data;
    std::size_t size = 0;
  };
  struct state {
    state(any_reader up, std::size_t block_size, std::size_t count)
        : upstream(std::move(up)), size(block_size), ring(count) {
      for (block& b : ring) b.data = std::make_unique_for_overwrite<std::byte[]>(size);
      worker = std::thread([this] { run(); });
    }
    ~state() {
      {
        std::lock_guard lock(mutex);
        stop = true;
      }
      changed.notify_all();
      worker.join();
    }
    void run() noexcept {
      for (std::size_t at = 0;; at = (at + 1) % ring.size()) {
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return stop || filled < ring.size(); });
          if (stop) return;
        }
        std::size_t n = 0;
        std::exception_ptr failure;
        try {
          n = upstream.read({ring[at].data.get(), size});
        } catch (...) {
          failure = std::current_exception();
        }
        std::lock_guard lock(mutex);
        if (n == 0) {
          ended = true;
          problem = failure;
          changed.notify_all();
          return;
        }
        ring[at].size = n;
        ++filled;
        changed.notify_all();
      }
    }
    std::size_t read(byte_span room) {
      if (offset == 0) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return filled > 0 || ended; });
        if (filled == 0) {
          if (problem) std::rethrow_exception(problem);
          return 0;
        }
      }
      const block& front = ring[first];
      const std::size_t n = std::min(room.size(), front.size - offset);
      std::copy_n(front.data.get() + offset, n, room.data());
      offset += n;
      if (offset == front.size) {
        offset = 0;
        first = (first + 1) % ring.size();
        std::lock_guard lock(mutex);
        --filled;
        changed.notify_all();
      }
      return n;
    }

    any_reader upstream;
    const std::size_t size;
    std::vector<block> ring;
    std::size_t first = 0, offset = 0;  // of the reading side only
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t filled = 0;
    bool ended = false, stop = false;
    std::exception_ptr problem;
    std::thread worker;  // last: it uses all of the above
  };
  std::unique_ptr<state> state_;
};

/// Adaptor for read_ahead_reader: `file_reader{fd} | openpgp::open(keys) | read_ahead()`.
struct read_ahead {
  using reader_adaptor = void;
  std::size_t capacity = 1 << 20;
  read_ahead_reader operator()(any_reader upstream) const { return read_ahead_reader(std::move(upstream), capacity); }
};

}  // namespace fussy
