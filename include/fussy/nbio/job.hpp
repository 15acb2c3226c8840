/// @file nbio/job.hpp  A run in the hands of the caller: driven step by step, by a host's loop, or with many others.
/// Threads: a job belongs to one thread at a time, all jobs of a loop to the thread of that loop.
/// Errors:  what the run failed with is in its result; std::logic_error for a job that was moved from.
#pragma once

#include <fussy/nbio/run.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace fussy::nbio {

namespace detail {
struct loop_state {
  unique_fd epoll;
  std::vector<run*> runs;

  void add(run& r) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = &r;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, r.external_fd(), &e) != 0)
      throw system_error("cannot wait for a run", errno);
    runs.push_back(&r);
  }
  void remove(run& r) noexcept {
    if (std::erase(runs, &r) == 0) return;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, r.external_fd(), nullptr);
  }
};
}  // namespace detail

/// Drives many jobs on one thread.
class loop {
public:
  loop() : state_(std::make_shared<detail::loop_state>()) {
    state_->epoll = unique_fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!state_->epoll) throw system_error("cannot create an epoll set", errno);
  }
  /// Readable when step() has something to do; for a loop of the host.
  int fd() const noexcept { return state_->epoll.get(); }
  /// Serves what is ready; never blocks. @return all jobs have finished.
  bool step() { return serve(0); }
  /// Until all jobs have finished.
  void run() {
    while (!serve(-1)) {
    }
  }

private:
  friend class job;
  bool serve(int wait_ms) {
    if (state_->runs.empty()) return true;
    epoll_event events[32];
    const int n = ::epoll_wait(state_->epoll.get(), events, 32, wait_ms);
    for (int i = 0; i < n; ++i) {
      auto& r = *static_cast<detail::run*>(events[i].data.ptr);
      if (std::find(state_->runs.begin(), state_->runs.end(), &r) == state_->runs.end())
        continue;  // its job was destroyed meanwhile
      if (r.advance(0)) state_->remove(r);
    }
    return state_->runs.empty();
  }
  std::shared_ptr<detail::loop_state> state_;
};

/// A run that has been started. Destroying it kills what still runs, and reaps it: no process is left, no zombie.
class [[nodiscard]] job {
public:
  job(job&&) noexcept = default;
  job& operator=(job&& other) noexcept {
    leave_loop();
    run_ = std::move(other.run_);
    loop_ = std::move(other.loop_);
    return *this;
  }
  ~job() { leave_loop(); }

  /// ONE descriptor that is readable when step() has something to do, deadlines included. Valid as long as the job.
  int fd() const { return self().external_fd(); }
  /// Serves what is ready, no longer than about `budget`; never blocks. @return finished.
  bool step(std::chrono::microseconds budget = std::chrono::microseconds(500)) {
    const auto until = detail::run_clock::now() + budget;
    while (!self().advance(0) && detail::run_clock::now() < until && something_ready()) {
    }
    return self().finished();
  }
  bool finished() const { return self().finished(); }
  /// Signals the processes, as far as the reach of each goes; one that dies of it has failed. SIGKILL also ends the
  /// run, as cancelled.
  void kill(int sig = SIGKILL) { self().signal(sig); }
  /// Asks the processes to end as a timeout would, after the grace of each.
  void cancel() { self().cancel(); }
  /// Drives the run to its end. Closes an open head; what is left of an open tail is in result::out. Once.
  result wait() {
    self().close_head();
    self().collect_tail();
    while (!self().advance(-1)) {
    }
    return std::move(self().report());
  }
  /// Of the processes that live, in the order of the pipe.
  std::vector<std::int64_t> pids() const { return self().pids(); }

  /// Of an open tail (pipe::open_output): nullopt: nothing now, drive the run and ask again; empty: the end.
  /// The octets are valid until the next call of anything of this job. Never blocks.
  std::optional<view> read() {
    for (;;) {
      view chunk;
      switch (self().take(chunk)) {
        case detail::got::blocked:
          return std::nullopt;
        case detail::got::end:
          return view();
        case detail::got::data:
          if (!chunk.empty()) return chunk;
      }
    }
  }
  /// Into an open head (pipe::open_input): takes what fits now. @return octets taken, 0 when full or when nobody reads
  /// any more.
  std::size_t write(view text) { return self().give(text); }
  /// Of an open head: that was all.
  void close_in() { self().close_head(); }

private:
  friend class pipe;
  friend class chunks_range;
  explicit job(std::unique_ptr<detail::run> r) : run_(std::move(r)) {}
  job(std::unique_ptr<detail::run> r, loop& l) : run_(std::move(r)), loop_(l.state_) {
    if (!run_->finished()) l.state_->add(*run_);
  }
  detail::run& self() const {
    if (!run_) throw std::logic_error("nbio: this job was moved from");
    return *run_;
  }
  bool something_ready() const {
    pollfd ask{self().external_fd(), POLLIN, 0};
    return ::poll(&ask, 1, 0) > 0;
  }
  /// The next chunk of an open tail, waiting for it; empty: the end, and the run is over.
  view read_waiting() {
    for (;;) {
      if (const auto chunk = read()) {
        if (!chunk->empty()) return *chunk;
        while (!self().advance(-1)) {
        }
        return {};
      }
      self().advance(-1);
    }
  }
  void leave_loop() noexcept {
    if (run_ && loop_) loop_->remove(*run_);
    run_.reset();
    loop_.reset();
  }

  std::unique_ptr<detail::run> run_;
  std::shared_ptr<detail::loop_state> loop_;
};

/// The output of a run as a single-pass range: of chunks, or of lines. Owns the run; leaving early ends it.
/// A failure of the run is thrown at the end of the iteration, after everything that came out.
class chunks_range {
public:
  chunks_range(chunks_range&&) noexcept = default;
  chunks_range& operator=(chunks_range&&) noexcept = default;

  class iterator {
  public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = view;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    view operator*() const noexcept { return of_->shown_; }
    iterator& operator++() {
      of_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return of_->at_end_; }

  private:
    friend class chunks_range;
    explicit iterator(chunks_range& r) noexcept : of_(&r) {}
    chunks_range* of_ = nullptr;
  };

  iterator begin() {
    if (!begun_) {
      begun_ = true;
      advance();
    }
    return iterator(*this);
  }
  std::default_sentinel_t end() const noexcept { return {}; }

private:
  friend class pipe;
  chunks_range(job j, std::optional<by_line> lines) : job_(std::move(j)), lines_(lines) {
    if (!lines_) return;
    lines_->max = std::max<std::size_t>(lines_->max, 1);
    cutter_.emplace(*lines_);
  }
  // In here, lines are what each_line() would show, one after the other.
  void advance() {
    if (!lines_) return show(job_.read_waiting(), true);
    while (region_.empty()) {
      if (cutter_->next(region_)) break;
      if (ended_) {
        if (cutter_->last(region_)) break;
        return show({}, true);
      }
      const view fresh = job_.read_waiting();
      if (fresh.empty())
        ended_ = true;
      else
        cutter_->feed(fresh);
    }
    const char* stop = static_cast<const char*>(std::memchr(region_.data(), lines_->sep, region_.size()));
    std::size_t size = stop ? static_cast<std::size_t>(stop - region_.data()) : region_.size();
    std::size_t used = stop ? size + 1 : size;
    if (size > lines_->max)
      used = size = lines_->max;
    else if (stop && lines_->keep_newline)
      ++size;
    shown_ = region_.substr(0, size);
    region_.remove_prefix(used);
  }
  void show(view chunk, bool empty_is_end) {
    shown_ = chunk;
    if (!chunk.empty() || !empty_is_end) return;
    at_end_ = true;
    std::move(job_.self().report()).check();
  }

  job job_;
  std::optional<by_line> lines_;
  std::optional<detail::line_cutter> cutter_;
  view region_, shown_;
  bool begun_ = false, ended_ = false, at_end_ = false;
};

}  // namespace fussy::nbio
