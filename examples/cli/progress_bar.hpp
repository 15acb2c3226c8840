/// @file progress_bar.hpp  How far an operation is, on stderr: a bar on a terminal, a line for each step elsewhere.
/// Threads: show() and around() may come from any thread; a bar redraws itself from one of its own.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <fussy/progress.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "terminal.hpp"

namespace fussy::cli {

/// Bytes a second; the last two seconds count most.
class speedometer {
public:
  using clock = std::chrono::steady_clock;

  void start(clock::time_point now) {
    started_ = at_ = now;
    done_ = 0, rate_ = 0, measured_ = false;
  }
  void note(std::uint64_t done, clock::time_point now) {
    const double seconds = std::chrono::duration<double>(now - at_).count();
    if (seconds < 0.25 || done < done_) return;
    const double here = static_cast<double>(done - done_) / seconds;
    const double weight = measured_ ? seconds / (seconds + 2) : 1;
    rate_ += weight * (here - rate_);
    measured_ = true, done_ = done, at_ = now;
  }
  double rate() const { return rate_; }
  double elapsed(clock::time_point now) const { return std::chrono::duration<double>(now - started_).count(); }

private:
  clock::time_point started_{}, at_{};
  std::uint64_t done_ = 0;
  double rate_ = 0;
  bool measured_ = false;
};

/// One line, redrawn in place, that is gone when it ends.
class progress_bar {
public:
  /// @param words  what a step is called here
  explicit progress_bar(std::string (*words)(phase)) : words_(words), paint_(STDERR_FILENO) {
    // The thread takes no signal: whoever waits for one (a prompt, `interrupts`) gets it.
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    drawer_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~progress_bar() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      erase();
    }
    woken_.notify_all();
    drawer_.join();
  }
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  void show(const progress& p) {
    const std::lock_guard lock(mutex_);
    const auto now = speedometer::clock::now();
    if (!begun_ || p.at != now_.at) speed_.start(now);
    const bool same = begun_ && p.at == now_.at;
    now_ = p, begun_ = true;
    speed_.note(p.done, now);
    if (!same || now - drawn_ >= std::chrono::milliseconds(100)) draw(now);
  }

  /// Writes something else to the terminal meanwhile.
  template <class Write>
  void around(Write&& write) {
    const std::lock_guard lock(mutex_);
    erase();
    write();
    if (begun_) draw(speedometer::clock::now());
  }

private:
  // So that time goes on where nothing is counted: a hook, a slow disk.
  void run() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      woken_.wait_for(lock, std::chrono::milliseconds(500));
      const auto now = speedometer::clock::now();
      if (!over_ && begun_ && now - drawn_ >= std::chrono::milliseconds(450)) draw(now);
    }
  }

  void erase() {
    if (!visible_) return;
    write_all("\r\033[K");
    visible_ = false;
  }
  void draw(speedometer::clock::time_point now) {
    if (now_.at == phase::done || over_) return erase();
    write_all("\r" + line(now, columns_of(STDERR_FILENO)) + "\033[K");
    visible_ = true;
    drawn_ = now;
  }

  // "verifying     [########--------]  52%  48.2/93.1 MiB  12.3 MiB/s  0:04 left", as much of it as there is room for.
  // The last column stays free: a terminal would break the line.
  std::string line(speedometer::clock::time_point now, std::size_t columns) const {
    const std::size_t room = columns > 1 ? columns - 1 : 1;
    const std::string what = left(words_(now_.at), 13);
    if (now_.total == 0 || now_.done > now_.total) return cut(what + "  " + counted(now), room);
    const double share = static_cast<double>(now_.done) / static_cast<double>(now_.total);
    char percent[8];
    std::snprintf(percent, sizeof percent, "%3.0f%%", share * 100);
    const std::string figures = std::string(percent) + "  " + right(of_total(), 18) + "  " + rate_and_time(now);
    const std::size_t taken = what.size() + 2 + 2 + 1 + width_of(figures);
    if (room < taken + 8) return cut(what + " " + figures, room);
    const std::size_t bar = std::min<std::size_t>(room - taken, 40);
    const auto full = static_cast<std::size_t>(share * static_cast<double>(bar));
    return paint_.bold(what) + " [" + paint_.green(std::string(full, '#')) + std::string(bar - full, '-') + "] " +
           figures;
  }
  std::string counted(speedometer::clock::time_point now) const {
    if (now_.done == 0) return human_time(speed_.elapsed(now));
    return human_size(now_.done) + "  " + human_size(static_cast<std::uint64_t>(speed_.rate())) + "/s  " +
           human_time(speed_.elapsed(now));
  }
  std::string of_total() const { return human_size(now_.done) + "/" + human_size(now_.total); }
  std::string rate_and_time(speedometer::clock::time_point now) const {
    if (speed_.rate() < 1) return right("", 11) + "  " + human_time(speed_.elapsed(now));
    const double left_over = static_cast<double>(now_.total - now_.done) / speed_.rate();
    return right(human_size(static_cast<std::uint64_t>(speed_.rate())) + "/s", 11) + "  " + human_time(left_over) +
           " left";
  }
  static std::string cut(const std::string& text, std::size_t room) { return text.substr(0, room); }  // ASCII

  static void write_all(const std::string& text) {
    // A terminal that went away is no reason to end.
    (void)!::write(STDERR_FILENO, text.data(), text.size());
  }

  std::string (*words_)(phase);
  paint paint_;
  std::mutex mutex_;
  std::condition_variable woken_;
  progress now_;
  speedometer speed_;
  speedometer::clock::time_point drawn_{};
  bool begun_ = false, visible_ = false, over_ = false;
  std::thread drawer_;  // last: it uses all of the above
};

/// A line for each step that takes time, and one now and then within a long one.
class progress_lines {
public:
  progress_lines(std::string command, std::string (*words)(phase)) : command_(std::move(command)), words_(words) {}

  void show(const progress& p) {
    const auto now = speedometer::clock::now();
    if (!begun_ || p.at != last_) {
      begun_ = true, last_ = p.at, said_ = now;
      if (takes_time(p.at)) say(words_(p.at) + (p.total > 0 ? " " + human_size(p.total) : ""));
    } else if (p.done > 0 && now - said_ >= std::chrono::seconds(10)) {
      said_ = now;
      say(words_(p.at) + " " + human_size(p.done) + (p.total > 0 ? " of " + human_size(p.total) : ""));
    }
  }

private:
  static bool takes_time(phase p) {
    return p != phase::waiting && p != phase::publishing && p != phase::switching && p != phase::done;
  }
  void say(const std::string& text) { std::fprintf(stderr, "%s: %s\n", command_.c_str(), text.c_str()); }

  std::string command_;
  std::string (*words_)(phase);
  bool begun_ = false;
  phase last_ = phase::waiting;
  speedometer::clock::time_point said_{};
};

}  // namespace fussy::cli
