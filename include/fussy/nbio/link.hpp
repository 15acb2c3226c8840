/// @file nbio/link.hpp  Native stages at work: each pulls chunks from the one before; nothing is done ahead of demand.
/// Threads: the links of a run belong to the thread that drives it.
/// Errors:  what a stage of the user throws passes through, and is noted with the stage it came from.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/concepts.hpp>
#include <fussy/nbio/line.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>

namespace fussy::nbio::detail {

constexpr std::size_t no_stage = SIZE_MAX;
constexpr std::size_t block_size = 64 * 1024;    // of a pipe as the kernel makes it
constexpr std::size_t large_block = 128 * 1024;  // once it shows that there is much to move
constexpr std::size_t large_pipe = 256 * 1024;
constexpr std::size_t much_data = 256 * 1024;

/// What a pull gave.
enum class got {
  data,     ///< a chunk, maybe an empty one; valid until the next pull
  blocked,  ///< nothing now; wait for the descriptor of the source
  end
};

class link {
public:
  virtual ~link() = default;
  got next(view& chunk) {
    const got g = pull(chunk);
    if (g == got::data) moved_ += chunk.size();
    at_end_ |= g == got::end;
    return g;
  }
  bool ended() const noexcept { return at_end_; }
  std::uint64_t moved() const noexcept { return moved_; }

  link* up = nullptr;              ///< the link before it
  std::size_t stage = no_stage;    ///< its number in the pipe
  std::size_t* thrower = nullptr;  ///< where to note that it was this stage that threw
  std::optional<by_line> lines;    ///< set: what arrives are whole lines, to be shown one by one

protected:
  virtual got pull(view& chunk) = 0;
  /// Runs code of the user.
  template <class F>
  decltype(auto) user(F&& f) {
    try {
      return f();
    } catch (...) {
      if (thrower && *thrower == no_stage) *thrower = stage;
      throw;
    }
  }
  template <class F>
  void show(view chunk, F&& f) {
    if (lines)
      each_line(chunk, *lines, [&](view line, bool) { f(line); });
    else
      f(chunk);
  }

private:
  std::uint64_t moved_ = 0;
  bool at_end_ = false;
};

/// Reads a descriptor: the end of a pipe of ours (non-blocking), or somebody else's (read only after it is known to be
/// ready).
class fd_link final : public link {
public:
  fd_link(int fd, bool own_pipe) noexcept : fd_(fd), own_pipe_(own_pipe), ready_(own_pipe) {}
  void set_ready() noexcept { ready_ = true; }
  void set_always_ready() noexcept { always_ = ready_ = true; }

private:
  got pull(view& chunk) override {
    if (!ready_) return got::blocked;
    if (!buffer_) resize(block_size);
    const ssize_t n = retry_eintr([&] { return ::read(fd_, buffer_.get(), size_); });
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      ready_ = false;
      return got::blocked;
    }
    if (n < 0 && errno == EIO && !own_pipe_) return got::end;  // the other side of a pseudo-terminal is gone
    if (n < 0) user([] { throw system_error("cannot read the input of the pipe", errno); });
    if (n == 0) return got::end;
    chunk = view(buffer_.get(), static_cast<std::size_t>(n));
    if (!always_ && (!own_pipe_ || chunk.size() < size_))
      ready_ = false;  // most likely empty now: ask before reading again
    if (own_pipe_ && size_ < large_block && moved() >= much_data) grow_at_next_ = true;
    if (grow_at_next_) chunk = enlarge(chunk);
    return got::data;
  }
  void resize(std::size_t size) {
    buffer_ = std::make_unique_for_overwrite<char[]>(size);
    size_ = size;
  }
  /// Only a pipe that moves much is worth more of the little that a user may have (pipe-user-pages-soft).
  view enlarge(view chunk) {
    grow_at_next_ = false;
    (void)::fcntl(fd_, F_SETPIPE_SZ, static_cast<int>(large_pipe));
    const auto old = std::move(buffer_);
    resize(large_block);
    std::memcpy(buffer_.get(), old.get(), chunk.size());
    return {buffer_.get(), chunk.size()};
  }

  int fd_;
  bool own_pipe_, ready_, always_ = false, grow_at_next_ = false;
  std::size_t size_ = 0;
  std::unique_ptr<char[]> buffer_;
};

/// Text in memory.
class text_link final : public link {
public:
  explicit text_link(view text) noexcept : rest_(text) {}

private:
  got pull(view& chunk) override {
    constexpr std::size_t piece = 1 << 20;  // so that a budget of step() can hold
    if (rest_.empty()) return got::end;
    chunk = rest_.substr(0, piece);
    rest_.remove_prefix(chunk.size());
    return got::data;
  }
  view rest_;
};

/// What job::write() gave.
class open_link final : public link {
public:
  std::size_t give(view text) {
    const std::size_t n = std::min(text.size(), large_pipe - std::min(large_pipe, waiting_.size()));
    waiting_.append(text.substr(0, n));
    return n;
  }
  void close() noexcept { closed_ = true; }
  bool has_data() const noexcept { return !waiting_.empty() || closed_; }

private:
  got pull(view& chunk) override {
    given_.clear();
    if (waiting_.empty()) return closed_ ? got::end : got::blocked;
    given_.swap(waiting_);
    chunk = given_;
    return got::data;
  }
  std::string waiting_, given_;
  bool closed_ = false;
};

/// The elements of a range. Small ones are gathered where the range can be gone through twice, since such ranges lie in
/// memory or are computed; those of a single-pass range (a generator) are handed on one by one, since the next may take
/// its time.
template <class R>
class range_link final : public link {
  using reference = std::ranges::range_reference_t<R>;
  static constexpr bool gathers = std::ranges::forward_range<R>;

public:
  explicit range_link(R& range) : range_(&range) {}

private:
  got pull(view& chunk) override {
    return user([&] { return gathers ? gather(chunk) : single(chunk); });
  }
  bool advance() {
    if (!at_)
      at_.emplace(std::ranges::begin(*range_));
    else if (standing_)
      ++*at_;
    standing_ = *at_ != std::ranges::end(*range_);
    return standing_;
  }
  got single(view& chunk) {
    held_.reset();
    if (ended_ || !advance()) return ended_ = true, got::end;
    if constexpr (std::is_lvalue_reference_v<reference>) {
      chunk = view_of(**at_);
    } else {
      held_.emplace(**at_);
      chunk = view_of(*held_);
    }
    return got::data;
  }
  got gather(view& chunk) {
    buffer_.clear();
    for (;;) {
      view one = left_;
      left_ = {};
      if (one.empty()) {
        const got g = single(one);
        if (g == got::end) break;
      }
      if (buffer_.empty() && one.size() >= block_size / 4) return chunk = one, got::data;
      if (!buffer_.empty() && buffer_.size() + one.size() > block_size) {
        left_ = one;
        break;
      }
      buffer_.append(one);
    }
    chunk = buffer_;
    return buffer_.empty() ? got::end : got::data;
  }

  R* range_;
  std::optional<std::ranges::iterator_t<R>> at_;
  std::optional<std::remove_cvref_t<reference>> held_;
  bool standing_ = false, ended_ = false;
  view left_;
  std::string buffer_;
};

/// A callable that gives one chunk after the other.
template <class F>
class pull_link final : public link {
public:
  explicit pull_link(F& f) : f_(&f) {}

private:
  got pull(view& chunk) override {
    return user([&] {
      held_.reset();
      if (ended_) return got::end;
      held_.emplace((*f_)());
      if (!*held_) return ended_ = true, got::end;
      chunk = view_of(**held_);
      return got::data;
    });
  }
  F* f_;
  std::optional<std::remove_cvref_t<std::invoke_result_t<F&>>> held_;
  bool ended_ = false;
};

/// Cuts the stream so that the links behind it see whole lines.
class line_link final : public link {
public:
  explicit line_link(by_line how) : cutter_(how) {}

private:
  got pull(view& chunk) override {
    for (;;) {
      if (cutter_.next(chunk)) return got::data;
      if (ended_) return cutter_.last(chunk) ? got::data : got::end;
      view fresh;
      const got g = up->next(fresh);
      if (g == got::blocked) return g;
      if (g == got::end)
        ended_ = true;
      else
        cutter_.feed(fresh);
    }
  }
  line_cutter cutter_;
  bool ended_ = false;
};

template <class F>
class tap_link final : public link {
public:
  explicit tap_link(F& f) : f_(&f) {}

private:
  got pull(view& chunk) override {
    const got g = up->next(chunk);
    if (g == got::data && !chunk.empty()) user([&] { show(chunk, [&](view v) { std::invoke(*f_, v); }); });
    return g;
  }
  F* f_;
};

template <class F>
class map_link final : public link {
public:
  explicit map_link(F& f) : f_(&f) {}

private:
  got pull(view& chunk) override {
    view from;
    const got g = up->next(from);
    if (g != got::data) return g;
    chunk = {};
    if (!from.empty()) user([&] { chunk = lines ? map_lines(from) : map_chunk(from); });
    return got::data;
  }
  view map_chunk(view from) {
    held_.emplace(std::invoke(*f_, from));
    return view_of(*held_);
  }
  view map_lines(view from) {
    buffer_.clear();
    each_line(from, *lines, [&](view line, bool whole) {
      const auto& mapped = std::invoke(*f_, line);
      buffer_.append(view_of(mapped));
      if (whole && !lines->keep_newline) buffer_.push_back(lines->sep);
    });
    return buffer_;
  }
  F* f_;
  std::optional<std::remove_cvref_t<std::invoke_result_t<F&, view>>> held_;
  std::string buffer_;
};

template <class C>
class container_link final : public link {
public:
  explicit container_link(C& c) : c_(&c) {}

private:
  got pull(view& chunk) override {
    using value = std::ranges::range_value_t<C>;
    const got g = up->next(chunk);
    if (g == got::data && !chunk.empty()) user([&] { show(chunk, [&](view v) { c_->push_back(owning<value>(v)); }); });
    return g;
  }
  C* c_;
};

/// A fussy::writer at the end: nothing flows on.
template <class W>
class writer_link final : public link {
public:
  explicit writer_link(W& w) : w_(&w) {}

private:
  got pull(view& chunk) override {
    const got g = up->next(chunk);
    if (g == got::data && !chunk.empty()) user([&] { w_->write(as_bytes(chunk)); });
    chunk = {};
    return g;
  }
  W* w_;
};

class discard_link final : public link {
private:
  got pull(view& chunk) override {
    const got g = up->next(chunk);
    chunk = {};
    return g;
  }
};

template <class F>
class filter_link final : public link {
public:
  explicit filter_link(F& f) : f_(&f) {}

private:
  got pull(view& chunk) override {
    if (!room_) room_ = std::make_unique_for_overwrite<char[]>(block_size);
    while (!ended_) {
      if (hungry_ && !eof_) {
        const got g = up->next(in_);
        if (g == got::blocked) return g;
        eof_ = g == got::end;
        if (eof_) in_ = {};
      }
      const progress p = user([&] { return step(); });
      ended_ = p.why == flow::done || (p.why == flow::need_input && eof_ && in_.empty());
      hungry_ = p.why == flow::need_input;
      if (p.produced != 0) {
        chunk = view(room_.get(), p.produced);
        return got::data;
      }
    }
    return got::end;
  }
  progress step() {
    const progress p =
        f_->step(std::span<const char>(in_.data(), in_.size()), std::span<char>(room_.get(), block_size), eof_);
    if (p.consumed > in_.size() || p.produced > block_size)
      throw std::logic_error("nbio: a filter claims more than it was given");
    in_.remove_prefix(p.consumed);
    if (p.consumed == 0 && p.produced == 0 &&
        (p.why == flow::need_output || (p.why == flow::need_input && !in_.empty())))
      throw std::logic_error("nbio: a filter makes no progress");
    if (p.why == flow::need_input && !in_.empty())
      return {p.consumed, p.produced, flow::need_output};  // it is called again
    return p;
  }

  F* f_;
  std::unique_ptr<char[]> room_;
  view in_;
  bool hungry_ = true, eof_ = false, ended_ = false;
};

}  // namespace fussy::nbio::detail
