/// @file nbio/pipe.hpp  Pipes of processes and native stages, and the operators that join them.
/// Threads: distinct pipes are independent, except that clones share their callables; one pipe needs outside locking.
/// Errors:  pipe_error when a process fails, a time is over or the caller asks to stop; what a native stage throws;
///          std::logic_error when a stage that can be used once is used again, or stages are joined that cannot be.
#pragma once

#include <fussy/nbio/job.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace fussy::nbio {

/// A description of processes and native stages, joined; running it starts them. Making one starts and opens nothing.
///
/// Processes side by side are joined by the kernel: no byte of theirs passes through ours. Everything else is served by
/// one thread, the one that calls, which waits for all ends at once; so no pipe deadlocks, however full its buffers
/// are. It may be run again unless a stage can be used once only (a generator, a reader, a moved-in writer, a
/// descriptor given away): then the second run throws std::logic_error.
class [[nodiscard]] pipe {
public:
  pipe(process p) { add(std::make_shared<detail::process_stage>(std::move(p))); }  // NOLINT: converting on purpose
  /// A source alone; native stages may follow it without any process: `from_file(path) | by_line() | callable`.
  pipe(const stage_of& s) {  // NOLINT: converting on purpose
    if (!s.feeds) throw std::logic_error("nbio: this stage is no source and can only stand right of a `|`");
    add(s.feeds);
  }
  pipe(pipe&&) noexcept = default;
  pipe& operator=(pipe&&) noexcept = default;
  /// The same stages; they are shared.
  pipe clone() const {
    pipe p;
    p.stages_ = stages_;
    p.options_ = options_;
    return p;
  }

  /// Longest time from start to end; then everything is killed (process::kills) and the run fails with errc::timeout.
  /// So it does at the current_deadline() of the thread that starts it, when that comes first (see deadline.hpp).
  template <class Rep, class Period>
  pipe timeout(std::chrono::duration<Rep, Period> longest) && {
    options_.timeout = std::chrono::ceil<detail::run_clock::duration>(longest);
    return std::move(*this);
  }
  /// After the last process has ended, how long to wait for others that hold our pipes open (a daemon that one of them
  /// started). Without it: until they let go, as in a shell. What is in the pipes by then is delivered; it is no
  /// failure.
  template <class Rep, class Period>
  pipe linger(std::chrono::duration<Rep, Period> longest) && {
    options_.linger = std::chrono::ceil<detail::run_clock::duration>(longest);
    return std::move(*this);
  }
  /// false: only the last process decides, as in a shell without `set -o pipefail`.
  pipe pipefail(bool on) && {
    options_.pipefail = on;
    return std::move(*this);
  }
  /// More collected output than this fails with errc::too_large.
  pipe limit_output(std::size_t octets) && {
    options_.limit = octets;
    return std::move(*this);
  }
  /// About how much output will be collected: saves growing into it.
  pipe expect_output(std::size_t octets) && {
    options_.expected = octets;
    return std::move(*this);
  }
  /// A stop request ends the run with errc::cancelled, from whichever thread it comes.
  pipe stop(std::stop_token token) && {
    options_.stop = std::move(token);
    return std::move(*this);
  }
  /// For start(): the caller writes what the first stage reads, by job::write() and job::close_in().
  pipe open_input() && {
    if (headed()) throw std::logic_error("nbio: the input of this pipe is given already");
    options_.open_in = true;
    return std::move(*this);
  }
  /// For start(): the caller reads what the last stage gives, by job::read(), and so sets the pace.
  pipe open_output() && {
    if (tailed()) throw std::logic_error("nbio: the output of this pipe goes somewhere already");
    options_.open_out = true;
    return std::move(*this);
  }

  /// Runs it to its end. @return what came out of the last stage, unless that is a file, a descriptor or a writer.
  /// @throws pipe_error with the partial output and a report per stage; what a stage in our process threw, as it was
  /// thrown.
  bytes operator()() {
    result r = run();
    if (!r) std::move(r).check();
    return std::move(r.out);
  }
  /// The same; every failure of the run is a value. Throws only for misuse.
  result run() {
    refuse_open_ends();
    detail::run r(stages_, options_);
    while (!r.advance(-1)) {
    }
    return std::move(r.report());
  }
  /// Starts it; the caller drives. @throws pipe_error  errc::spawn_failed: nothing is left running.
  job start() && {
    job j(make_run(options_));
    refuse_failed_start(j);
    return j;
  }
  /// The same, driven by a loop together with others.
  job start(loop& by) && {
    job j(make_run(options_), by);
    refuse_failed_start(j);
    return j;
  }
  /// The output as a range of chunks of any size; `for (view chunk : (a | b).chunks())`. Behind by_line: of lines.
  chunks_range chunks() && {
    const auto* cut = dynamic_cast<const detail::lines_stage*>(stages_.back().get());
    std::optional<by_line> how;
    if (cut) how = cut->how;
    return {open_run(), how};
  }
  /// The output as a range of lines.
  chunks_range lines(by_line how = {}) && { return {open_run(), how}; }

  /// The pipe as a fussy::reader: the first read starts it. Waits for at least one octet; 0 is the end of a run that
  /// went well. @throws as operator(), after all octets that came before the failure.
  std::size_t read(byte_span room) {
    if (!reading_) reading_ = std::make_unique<reading>(reading{open_run(), {}, false});
    if (reading_->ended) return 0;
    if (reading_->rest.empty()) reading_->rest = reading_->from.read_waiting();
    if (reading_->rest.empty()) {
      reading_->ended = true;
      std::move(reading_->from.self().report()).check();
      return 0;
    }
    const std::size_t n = std::min(room.size(), reading_->rest.size());
    std::memcpy(room.data(), reading_->rest.data(), n);
    reading_->rest.remove_prefix(n);
    return n;
  }

  /// One stage of the pipe: what it is called in reports.
  struct stage_info {
    std::string name;
    const process* what;  ///< null when it is no process
  };
  std::size_t size() const noexcept { return stages_.size(); }
  stage_info operator[](std::size_t index) const {
    const detail::stage& s = *stages_.at(index);
    const auto* p = dynamic_cast<const detail::process_stage*>(&s);
    return {s.name, p ? &p->what : nullptr};
  }
  stage_info first() const { return (*this)[0]; }
  stage_info last() const { return (*this)[size() - 1]; }
  /// Joins what may stand right of `|` (left, for prepend).
  template <class T>
  pipe& append(T&& t);
  template <class T>
  pipe& prepend(T&& t);

  // For the operators.
  void add(std::shared_ptr<detail::stage> s) {
    if (tailed()) throw std::logic_error("nbio: the output of this pipe goes to " + stages_.back()->name + " already");
    if (s->is_source && !stages_.empty())
      throw std::logic_error("nbio: " + s->name + " is a source and can only stand first");
    stages_.push_back(std::move(s));
  }
  void add_source(std::shared_ptr<detail::stage> s) {
    if (headed()) throw std::logic_error("nbio: the input of this pipe is given already, by " + stages_.front()->name);
    stages_.insert(stages_.begin(), std::move(s));
  }
  void join(pipe behind) {
    if (behind.headed())
      throw std::logic_error("nbio: the input of the second pipe is given already, by " + behind.stages_.front()->name);
    for (auto& s : behind.stages_) add(std::move(s));
    detail::run_options& o = behind.options_;
    const auto shorter = [](auto& mine, const auto& other) {
      if (other && (!mine || *other < *mine)) mine = other;
    };
    shorter(options_.timeout, o.timeout);
    shorter(options_.linger, o.linger);
    options_.pipefail &= o.pipefail;
    options_.limit = std::min(options_.limit, o.limit);
    options_.expected = std::max(options_.expected, o.expected);
    options_.open_out |= o.open_out;
    if (o.stop.stop_possible()) options_.stop = std::move(o.stop);
  }

private:
  struct reading {
    job from;
    view rest;
    bool ended;
  };
  pipe() = default;
  bool headed() const noexcept {
    if (stages_.empty()) return false;
    return options_.open_in || stages_.front()->is_source ||
           dynamic_cast<const detail::end_stage*>(stages_.front().get());
  }
  bool tailed() const noexcept {
    return stages_.size() > 1 && dynamic_cast<const detail::end_stage*>(stages_.back().get());
  }
  void refuse_open_ends() const {
    if (options_.open_in || options_.open_out)
      throw std::logic_error("nbio: a pipe with an open end is run by start()");
    if (stages_.empty()) throw std::logic_error("nbio: this pipe was moved from");
  }
  std::unique_ptr<detail::run> make_run(detail::run_options options) {
    if (stages_.empty()) throw std::logic_error("nbio: this pipe was moved from");
    return std::make_unique<detail::run>(stages_, std::move(options));
  }
  job open_run() {
    if (tailed()) throw std::logic_error("nbio: the output of this pipe goes to " + stages_.back()->name + " already");
    detail::run_options options = options_;
    options.open_out = true;
    return job(make_run(std::move(options)));
  }
  static void refuse_failed_start(job& j) {
    for (const stage_report& s : j.self().report().stages)
      if (s.spawn_errno != 0) std::move(j).wait().check();
  }

  std::vector<std::shared_ptr<detail::stage>> stages_;
  detail::run_options options_;
  std::unique_ptr<reading> reading_;
};

// ---- operators: at namespace scope, so that they are found for `P | P`, which converts both sides

inline pipe operator|(pipe a, pipe b) {
  a.join(std::move(b));
  return a;
}
/// `| ""` collects (as without it), `| "-"` goes to our standard output. Any other text is refused: nobody could know
/// whether a file, a command or data is meant.
template <std::size_t N>
requires(N <= 2) pipe operator|(pipe a, const char (&literal)[N]) {
  if (N == 2 && literal[0] != '-')
    throw std::invalid_argument("nbio: `| \"" + std::string(literal) +
                                "\"` means nothing; \"-\" is our standard output");
  if (N == 2) a.add(fd(STDOUT_FILENO).follows);
  return a;
}
template <can_follow T>
pipe operator|(pipe a, T&& t) {
  a.add(detail::make_follower(std::forward<T>(t)));
  return a;
}
inline pipe operator|(pipe a, by_line how) {
  a.add(std::make_shared<detail::lines_stage>(how));
  return a;
}
inline pipe operator|(pipe a, const stage_of& s) {
  if (!s.follows) throw std::logic_error("nbio: this stage is a source and can only stand left of a `|`");
  a.add(s.follows);
  return a;
}
/// Text on the left is data, never the name of a file: that is `P("…") < "name"`.
template <can_feed T>
pipe operator|(T&& t, pipe b) {
  b.add_source(detail::make_source(std::forward<T>(t)));
  return b;
}
inline pipe operator|(const stage_of& s, pipe b) {
  if (!s.feeds) throw std::logic_error("nbio: this stage is no source and can only stand right of a `|`");
  b.add_source(s.feeds);
  return b;
}
inline pipe operator|(const stage_of& a, const stage_of& b) { return pipe(a) | b; }
/// An adaptor of readers takes the pipe as a reader: `P("curl …") | openpgp::open(keys) | archive::extract(into)`. What
/// it returns, when it is a reader, can feed a pipe again.
template <reader_adaptor A>
auto operator|(pipe a, A&& adaptor) {
  return std::forward<A>(adaptor)(any_reader(std::move(a)));
}
template <never_a_stage T>
pipe operator|(pipe, T&&) = delete;
template <never_a_stage T>
pipe operator|(T&&, pipe) = delete;

/// Into a file, as to_file(): replaced when all has succeeded.
inline pipe operator>(pipe a, std::filesystem::path p) { return std::move(a) | to_file(std::move(p)); }
/// Behind what is in the file.
inline pipe operator>>(pipe a, std::filesystem::path p) { return std::move(a) | append_to(std::move(p)); }
/// From a file, which becomes the standard input of the first process as it is.
inline pipe operator<(pipe a, std::filesystem::path p) { return from_file(std::move(p)) | std::move(a); }

template <class T>
pipe& pipe::append(T&& t) {
  return *this = std::move(*this) | std::forward<T>(t);
}
template <class T>
pipe& pipe::prepend(T&& t) {
  return *this = std::forward<T>(t) | std::move(*this);
}

inline bytes process::operator()() const { return pipe(*this)(); }
inline result process::run() const { return pipe(*this).run(); }
inline job process::start() const { return pipe(*this).start(); }
inline job process::start(loop& by) const { return pipe(*this).start(by); }
inline chunks_range process::chunks() const { return pipe(*this).chunks(); }
inline chunks_range process::lines() const { return pipe(*this).lines(); }
inline chunks_range process::lines(by_line how) const { return pipe(*this).lines(how); }
template <class Rep, class Period>
pipe process::timeout(std::chrono::duration<Rep, Period> longest) const {
  return pipe(*this).timeout(longest);
}
template <class Rep, class Period>
pipe process::linger(std::chrono::duration<Rep, Period> longest) const {
  return pipe(*this).linger(longest);
}
inline pipe process::stop(std::stop_token token) const { return pipe(*this).stop(std::move(token)); }
inline pipe process::limit_output(std::size_t octets) const { return pipe(*this).limit_output(octets); }

}  // namespace fussy::nbio
