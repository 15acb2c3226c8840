/// @file nbio/run.hpp  The engine: one run of a pipe, from the first process started to the last one reaped.
/// Threads: a run belongs to one thread at a time.
/// Errors:  std::logic_error and std::bad_alloc; what goes wrong in the run itself is in its result.
#pragma once

#include <fussy/deadline.hpp>
#include <fussy/nbio/child.hpp>
#include <fussy/nbio/segment.hpp>
#include <fussy/nbio/spawn.hpp>
#include <fussy/nbio/stage.hpp>
#include <fussy/nbio/tree.hpp>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace fussy::nbio::detail {

using run_clock = std::chrono::steady_clock;

struct run_options {
  std::optional<run_clock::duration> timeout, linger;
  bool pipefail = true;
  std::size_t limit = SIZE_MAX;
  std::size_t expected = 0;
  std::stop_token stop;
  bool open_in = false, open_out = false;
};

/// The invariants of a run:
///  1. Processes start from last to first, so nobody writes to a reader that is not there yet; one that cannot be
///     started leaves none without its reader.
///  2. It is over when every end of ours is at its end AND every process is reaped AND every thread has returned, in
///     whatever order these come.
///  3. On a failure what is behind is killed before its input ends, so it cannot take half of the data for all of it.
///  4. Only pidfds tell that a process ended; no SIGCHLD, no wait for any child, no timer that polls.
class run {
public:
  run(std::vector<std::shared_ptr<stage>> stages, run_options options)
      : stages_(std::move(stages)), options_(std::move(options)) {
    for (const auto& s : stages_) s->claim();
    for (const auto& s : stages_) {
      result_.stages.emplace_back().name = s->name;
      result_.stages.back().is_process = dynamic_cast<const process_stage*>(s.get()) != nullptr;
    }
    epoll_ = unique_fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_) throw system_error("cannot create an epoll set", errno);
    epoll_ = above_stdio(std::move(epoll_));
    try {
      launch();
    } catch (...) {
      abandon();
      throw;
    }
  }
  ~run() {
    try {
      kill_now();
      while (!advance(-1)) {
      }
    } catch (...) {
      abandon();
    }
  }
  run(const run&) = delete;
  run& operator=(const run&) = delete;

  bool finished() const noexcept { return finished_; }
  result& report() noexcept { return result_; }

  /// Serves what is ready, waiting for it at most `wait_ms` (-1: until something happens). @return finished.
  bool advance(int wait_ms) {
    if (finished_) return true;
    const bool due = serve_turns();
    if (complete()) return finish(), true;
    epoll_event events[32];
    const int n = ::epoll_wait(epoll_.get(), events, 32, due ? 0 : until_deadline(wait_ms));
    for (int i = 0; i < n; ++i) dispatch(events[i]);
    check_deadlines();
    if (!finished_ && complete()) finish();
    if (external_) arm_external();
    return finished_;
  }

  /// Kills what runs and collects what is in the pipes already; the run still has to be driven to its end.
  void cancel() {
    if (ending_ || finished_) return;
    result_.cancelled = true;
    end_run();
  }
  /// The same without the grace a process may have been given.
  void kill_now() {
    if (finished_ || killing_) return;
    if (!ending_) result_.cancelled = ending_ = true;
    kill_all();
  }
  void signal(int number) {
    if (finished_) return;
    if (number == SIGKILL) return kill_now();
    signal_all(number);
  }
  std::vector<std::int64_t> pids() const {
    std::vector<std::int64_t> alive;
    for (auto at = children_.rbegin(); at != children_.rend(); ++at)
      if (!at->who->ended()) alive.push_back(at->who->pid());
    return alive;
  }

  // ---- a head or tail in the hands of the caller
  open_link* head() noexcept { return head_; }
  std::size_t give(view text) {
    if (!head_ || ending_) return 0;
    const std::size_t n = head_->give(text);
    pump(*head_segment_);
    return n;
  }
  void close_head() {
    if (!head_) return;
    head_->close();
    if (!head_segment_->done) pump(*head_segment_);
  }
  /// The next chunk of an open tail. `blocked`: drive the run first.
  got take(view& chunk) {
    serve_meanwhile();
    if (!tail_ || tail_->done) return got::end;
    got g = got::end;
    try {
      g = tail_->pull(chunk);
    } catch (...) {
      fail(*tail_);
      return got::end;
    }
    if (g == got::blocked) {
      watch_input(*tail_, true);
      if (tail_->in_watch.always_ready) return take(chunk);
    }
    if (g == got::end) {
      close_segment(*tail_);
      if (complete()) finish();
    }
    if (g == got::data) taken_octets_ += chunk.size();
    return g;
  }
  /// What is left of an open tail is collected from now on.
  void collect_tail() {
    if (!tail_ || tail_->done) return;
    tail_->into = segment::target::memory;
    tail_->turn_due = true;
  }
  bool tail_open() const noexcept { return tail_ && !tail_->done; }

  /// From now on somebody else waits for this descriptor: deadlines and work that is due make it readable as well.
  int external_fd() {
    if (!external_) {
      timer_ = unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
      if (!timer_) throw system_error("cannot create a timer", errno);
      timer_ = above_stdio(std::move(timer_));
      add_watch(timer_.get(), EPOLLIN, tag(kind::timer, 0));
      ensure_wake();
      external_ = true;
      arm_external();
    }
    return epoll_.get();
  }

private:
  /// Who takes from a source that never pauses never waits: deadlines, a stop and the ends of processes would not be
  /// noticed.
  void serve_meanwhile() {
    constexpr std::size_t fair_chunks = 16, fair_octets = 32 * 1024;
    if (++taken_chunks_ < fair_chunks && taken_octets_ < fair_octets) return;
    taken_chunks_ = taken_octets_ = 0;
    advance(0);
  }

  enum class kind : std::uint32_t { input, output, ended, error_output, wake, timer, outer };
  static std::uint64_t tag(kind k, std::size_t index) { return static_cast<std::uint64_t>(k) << 32 | index; }

  struct running {
    std::size_t stage;
    const process_spec* spec;
    std::optional<child> who;     // in place: once a process runs, nothing may fail that leaves it to nobody
    unique_fd err;                // what it says on its error output, when that is ours to read
    ino_t out_pipe = 0;           // the pipe to the next process, when they are joined by the kernel
    bool reader_had_left = true;  // when it died of SIGPIPE: whether its reader had closed
    bool killed = false;
  };
  /// What stands between two pipes: a process, a thread, or neighbouring native stages.
  struct actor {
    enum { process, thread, native } what;
    std::size_t first, last;  // stages
    std::size_t index = 0;    // into children_, threads_ or segments_, once it is there
  };

  /// What is between two actors: an end of a pipe of ours, or a file or descriptor at the head or tail.
  struct joint {
    unique_fd fd;
    bool is_pipe = false;
    ino_t inode = 0;
  };

  // ---- launching and judging: in launch.hpp
  void launch();
  void arrange();
  void start_actors();
  std::size_t pipe_size_behind(const actor& a) const;
  unique_fd open_end(std::size_t index);
  unique_fd open_replacement(const std::filesystem::path& path);
  unique_fd open_error_output(const process_spec& spec, unique_fd& ours);
  void start_process(actor& a, joint in, joint out);
  void start_thread(actor& a, joint in, joint out);
  void start_segment(actor& a, joint in, joint out);
  void add_links(segment& s, std::size_t first, std::size_t last);
  void attach();
  void judge();
  void settle_files();

  // ---- serving
  bool serve_turns() {
    bool due = false;
    for (segment& s : segments_)
      if (!s.done && s.turn_due && s.into != segment::target::caller) {
        pump(s);
        due |= !s.done && s.turn_due;
      }
    return due;
  }
  void dispatch(const epoll_event& e) {
    const std::size_t index = e.data.u64 & 0xffffffff;
    switch (static_cast<kind>(e.data.u64 >> 32)) {
      case kind::input:
        return input_ready(segments_[index]);
      case kind::output:
        segments_[index].out_ready = true;
        return pump(segments_[index]);
      case kind::ended:
        return process_ended(children_[index]);
      case kind::error_output:
        return read_error_output(children_[index]);
      case kind::wake:
        return woken();
      case kind::timer:
        return drain(timer_.get());
      case kind::outer:
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, outer_cancel(), nullptr);
        return kill_now();
    }
  }
  void input_ready(segment& s) {
    if (s.done) return;
    s.reader->set_ready();
    if (s.into == segment::target::caller) return watch_input(s, false);  // the caller knows now
    pump(s);
  }
  void pump(segment& s) {
    if (s.done) return;
    constexpr int fair_share = 16;
    try {
      const auto w =
          s.into == segment::target::caller ? segment::wants::input : s.pump(result_.out, options_.limit, fair_share);
      if (w == segment::wants::nothing) return close_segment(s);
      watch_input(s, w == segment::wants::input);
      watch_output(s, w == segment::wants::output);
    } catch (...) {
      fail(s);
    }
  }
  void close_segment(segment& s) {
    s.done = true;
    watch_input(s, false);
    watch_output(s, false);
    s.in.reset();
    s.out.reset();
  }
  void process_ended(running& r) {
    if (r.who->ended()) return;
    const int fd = r.who->fd();
    remove_watch(fd);  // before it is closed: a copy of it in a fork of the host would keep it in the set, readable
    if (!r.who->notice_end(r.spec->leads_group())) {
      add_watch(fd, EPOLLIN, tag(kind::ended, index_of(r)));
      return;
    }
    exit_status& st = result_.stages[r.stage].st;
    st = r.who->status();
    if (died_of_sigpipe(r)) r.reader_had_left = reader_has_left(r);
  }
  bool died_of_sigpipe(const running& r) const {
    const exit_status& st = r.who->status();
    return st.known && (st.signal == SIGPIPE || (st.signal == 0 && st.code == 128 + SIGPIPE));
  }
  /// The process behind has ended or no longer reads our pipe. Where it still does, the SIGPIPE came from elsewhere.
  bool reader_has_left(const running& r) const {
    if (r.out_pipe == 0) return true;
    for (const running& next : children_) {
      if (next.stage != r.stage + 1 || next.who->ended()) continue;
      char target[64];
      const std::string stdin_of = "/proc/" + std::to_string(next.who->pid()) + "/fd/0";
      const ssize_t n = ::readlink(stdin_of.c_str(), target, sizeof target);
      if (n > 0 && view(target, static_cast<std::size_t>(n)) == "pipe:[" + std::to_string(r.out_pipe) + "]")
        return false;
    }
    return true;
  }
  void read_error_output(running& r) {
    if (!r.err) return;
    try {
      if (!error_buffer_) error_buffer_ = std::make_unique_for_overwrite<char[]>(block_size);
      const ssize_t n = retry_eintr([&] { return ::read(r.err.get(), error_buffer_.get(), block_size); });
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        remove_watch(r.err.get());
        return r.err.reset();
      }
      const view chunk(error_buffer_.get(), static_cast<std::size_t>(n));
      if (const auto* c = std::get_if<capture>(&r.spec->err)) {
        bytes& kept = result_.stages[r.stage].err;
        kept.append(chunk.substr(0, c->max - std::min(c->max, kept.size())));
      } else {
        std::get<std::function<void(view)>>(r.spec->err)(chunk);
      }
    } catch (...) {
      fail(r.stage, std::current_exception());
    }
  }
  void woken() {
    drain(wake_.get());
    if (stop_requested_.load(std::memory_order_acquire)) cancel();
    for (stage_thread& t : threads_)
      if (t.ended() && t.failure()) fail(t.stage(), t.failure());
  }
  static void drain(int fd) {
    std::uint64_t count;
    (void)!::read(fd, &count, sizeof count);
  }

  // ---- the set of descriptors
  bool add_watch(int fd, std::uint32_t events, std::uint64_t t) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = t;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0) return true;
    if (errno == EPERM) return false;  // a file: always ready
    if (errno == EEXIST) return true;
    throw system_error("cannot wait for a descriptor", errno);
  }
  void remove_watch(int fd) const noexcept { (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }
  std::size_t index_of(const running& r) const {
    std::size_t i = 0;
    while (&children_[i] != &r) ++i;
    return i;
  }
  void set_watch(watch& w, bool on, std::uint32_t events, std::uint64_t t) {
    if (w.fd < 0 || w.always_ready || w.on == on) return;
    if (on)
      w.on = add_watch(w.fd, events, t), w.always_ready = !w.on;
    else
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, w.fd, nullptr), w.on = false;
  }
  void watch_input(segment& s, bool on) {
    if (!s.reader) return;
    set_watch(s.in_watch, on, EPOLLIN, tag(kind::input, s.number));
    if (on && s.in_watch.always_ready) s.reader->set_always_ready(), s.turn_due = true;
  }
  void watch_output(segment& s, bool on) {
    set_watch(s.out_watch, on, EPOLLOUT, tag(kind::output, s.number));
    if (on && s.out_watch.always_ready) s.turn_due = true;
  }
  void ensure_wake() {
    if (wake_) return;
    wake_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw system_error("cannot create an event descriptor", errno);
    wake_ = above_stdio(std::move(wake_));
    add_watch(wake_.get(), EPOLLIN, tag(kind::wake, 0));
  }

  // ---- time
  std::optional<run_clock::time_point> next_deadline() const {
    std::optional<run_clock::time_point> next;
    for (const auto& d : {deadline_, kill_at_, linger_until_})
      if (d && (!next || *d < *next)) next = d;
    return next;
  }
  int until_deadline(int wait_ms) const {
    const auto next = next_deadline();
    if (!next) return wait_ms;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - run_clock::now()).count();
    const int bounded = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
    return wait_ms < 0 ? bounded : std::min(wait_ms, bounded);
  }
  void check_deadlines() {
    if (!deadline_ && !kill_at_ && !linger_until_) return;
    const auto now = run_clock::now();
    if (kill_at_ && now >= *kill_at_) {
      kill_at_.reset();
      kill_all();
    }
    if (deadline_ && now >= *deadline_) {
      deadline_.reset();
      result_.timed_out = true;
      end_run();
    }
    if (linger_until_ && now >= *linger_until_) {
      linger_until_.reset();
      result_.left_open = true;
      drain_and_close();
    }
  }
  void arm_external() {
    itimerspec when{};
    if (const auto next = next_deadline()) {
      const auto ns = std::max<std::int64_t>(
          1, std::chrono::duration_cast<std::chrono::nanoseconds>(next->time_since_epoch()).count());
      when.it_value = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    }
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
    for (const segment& s : segments_)
      if (!s.done && s.turn_due) return nudge();
  }
  void nudge() const noexcept {
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
  }

  // ---- ending
  void fail(segment& s) {
    const std::exception_ptr what = std::current_exception();
    std::size_t at = s.thrower != no_stage ? s.thrower : s.first_stage;
    if (at == no_stage || at >= stages_.size()) at = stages_.size() - 1;
    s.failed = true;
    fail(at, what);
  }
  void fail(std::size_t stage, std::exception_ptr what) {
    stage_report& r = result_.stages[stage];
    if (!r.exc) r.exc = std::move(what);
    r.failed = true;
    if (!ending_) {
      ending_ = true;
      kill_all();
    }
  }
  /// A timeout or a cancellation: asks first where a grace was given.
  void end_run() {
    if (ending_) return;
    ending_ = true;
    ms grace{0};
    for (const running& r : children_) grace = std::max(grace, r.spec->grace);
    if (grace.count() == 0) return kill_all();
    std::vector<running*> patient;
    for (running& r : children_)
      if (r.spec->grace.count() > 0) patient.push_back(&r);
    signal_these(patient, SIGTERM);
    kill_at_ = run_clock::now() + grace;
  }
  void kill_all() {
    killing_ = true;
    kill_at_.reset();
    try {
      signal_all(SIGKILL);
    } catch (const std::bad_alloc&) {  // then without their descendants: these take memory to find
      for (running& r : children_) r.killed |= r.who->signal(SIGKILL);
    }
    drain_and_close();
    cancel_threads();
  }
  /// Where memory is missing even to end in order: no process of ours is left, and no zombie.
  void abandon() noexcept {
    for (running& r : children_)
      if (r.who) r.who->end_now();
    cancel_threads();
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  void signal_all(int number) {
    std::vector<running*> all;
    for (running& r : children_) all.push_back(&r);  // from last to first (invariant 3): the order of their start
    signal_these(all, number);
  }
  void signal_these(const std::vector<running*>& these, int number) {
    std::vector<pid_t> roots;
    for (running* r : these) {
      if (r->spec->leads_group() && r->spec->kills != reach::child)
        r->who->signal_group(number);  // even if the leader is gone
      if (r->who->ended() || r->spec->kills != reach::tree) continue;
      roots.push_back(r->who->pid());
      if (number == SIGKILL) r->who->signal(SIGSTOP);  // it starts nobody any more
    }
    if (!roots.empty()) signal_descendants(roots, number);
    for (running* r : these) {
      const bool sent = !r->who->ended() && r->who->signal(number);
      r->killed |= sent && ending_ && (number == SIGKILL || number == SIGTERM);
    }
  }
  void cancel_threads() noexcept {
    if (threads_.empty()) return;
    const std::uint64_t one = 1;
    (void)!::write(cancel_.get(), &one, sizeof one);
  }
  /// Takes what is in the pipes already, without waiting, and closes our ends.
  void drain_and_close() {
    for (segment& s : segments_) {
      if (s.done) continue;
      if (!s.failed && s.into == segment::target::memory) {
        if (s.reader) s.reader->set_ready();
        try {
          constexpr int more_than_a_pipe_holds = 64;
          (void)s.pump(result_.out, options_.limit, more_than_a_pipe_holds);
        } catch (...) {
          fail(s);
        }
      }
      keep_to_probe(s.in_watch, s.in);
      keep_to_probe(s.out_watch, s.out);
      close_segment(s);
    }
    for (running& r : children_) {
      read_error_output(r);
      if (!r.err) continue;
      remove_watch(r.err.get());
      watch w{r.err.get(), true};
      keep_to_probe(w, r.err);
      r.err.reset();
    }
  }
  /// When we kill, an end stays open, unused, until it can tell whether anybody is left at the other.
  void keep_to_probe(watch& w, unique_fd& end) {
    if (!killing_ || !end) return;
    set_watch(w, false, 0, 0);
    try {
      probes_.push_back(std::move(end));
    } catch (const std::bad_alloc&) {
      end.reset();  // then nobody can be asked
    }
  }

  bool complete() {
    bool processes = true, ends = true;
    for (const running& r : children_) {
      processes &= r.who->ended();
      ends &= !r.err;
    }
    for (const stage_thread& t : threads_) processes &= t.ended();
    for (const segment& s : segments_) ends &= s.done;
    if (processes && !ends && options_.linger && !linger_until_ && !result_.left_open)
      linger_until_ = run_clock::now() + *options_.linger;
    return processes && ends;
  }
  void finish() {
    finished_ = true;
    stop_callback_.reset();
    deadline_.reset(), kill_at_.reset(), linger_until_.reset();
    for (stage_thread& t : threads_) {
      t.close();
      result_.stages[t.stage()].in = t.in();
      result_.stages[t.stage()].out = t.out();
    }
    if (killing_) kill_left_behind();
    probes_.clear();
    for (running& r : children_) r.who->reap();
    for (const segment& s : segments_) count(s);
    count_neighbours();
    judge();
    settle_files();
  }
  /// Grandchildren whose parent is gone hold our pipes still, if anybody does.
  void kill_left_behind() {
    bool wanted = false;
    for (const running& r : children_) wanted |= r.spec->kills != reach::child;
    if (!wanted || !somebody_holds_a_pipe()) return;
    kill_holders(pipes_);
  }
  bool somebody_holds_a_pipe() const {
    if (kernel_joints_ > 0) return true;  // these we cannot ask
    for (const unique_fd& p : probes_) {
      pollfd ask{p.get(), 0, 0};
      if (::poll(&ask, 1, 0) == 0) return true;
    }
    return false;
  }
  void count(const segment& s) {
    for (const auto& l : s.chain) {
      if (l->stage == no_stage) continue;
      result_.stages[l->stage].in = l->up ? l->up->moved() : 0;
      result_.stages[l->stage].out = l->moved();
    }
  }
  /// What a process took from and gave to native stages.
  void count_neighbours() {
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      if (actors_[i].what != actor::native || actors_[i].index >= segments_.size()) continue;
      const segment& s = segments_[actors_[i].index];
      if (i > 0) result_.stages[actors_[i - 1].last].out = s.taken();
      if (i + 1 < actors_.size()) result_.stages[actors_[i + 1].first].in = s.given();
    }
  }

  std::vector<std::shared_ptr<stage>> stages_;
  run_options options_;
  result result_;
  unique_fd epoll_, wake_, timer_, cancel_;
  std::vector<actor> actors_;
  std::deque<running> children_;  // in the order of their start: last stage first
  std::deque<segment> segments_;
  std::deque<stage_thread> threads_;
  std::vector<ino_t> pipes_;  // all that we made, to recognise who holds them
  std::vector<unique_fd> probes_;
  std::size_t kernel_joints_ = 0;
  open_link* head_ = nullptr;
  segment* head_segment_ = nullptr;
  segment* tail_ = nullptr;
  std::optional<std::size_t> head_end_, tail_end_;  // stages that are a file or descriptor
  std::string temporary_;                           // becomes `replaced_` when all went well
  std::filesystem::path replaced_;
  std::size_t starting_ = 0;  // the stage being started
  std::optional<run_clock::time_point> deadline_, kill_at_, linger_until_;
  bool external_ = false, ending_ = false, killing_ = false, finished_ = false;
  std::unique_ptr<char[]> error_buffer_;
  std::size_t taken_chunks_ = 0, taken_octets_ = 0;  // since others were served
  std::atomic<bool> stop_requested_{false};
  struct on_stop {
    run* self;
    void operator()() const noexcept {
      self->stop_requested_.store(true, std::memory_order_release);
      self->nudge();
    }
  };
  std::optional<std::stop_callback<on_stop>> stop_callback_;
};

}  // namespace fussy::nbio::detail

#include <fussy/nbio/launch.hpp>
