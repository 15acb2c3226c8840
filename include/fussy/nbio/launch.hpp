/// @file nbio/launch.hpp  The start and the verdict of a run; part of run.hpp.
/// Threads, errors: see there.
#pragma once

#include <fussy/nbio/run.hpp>

namespace fussy::nbio::detail {

inline void run::launch() {
  if (options_.timeout) deadline_ = run_clock::now() + *options_.timeout;
  // A limit that was set for the work of this thread, by a lock say, ends the run as a timeout of its own does.
  if (const auto limit = current_deadline(); limit != no_deadline && (!deadline_ || limit < *deadline_))
    deadline_ = limit;
  starting_ = 0;
  try {
    arrange();
    start_actors();
    attach();
  } catch (...) {
    fail(starting_, std::current_exception());
    try {
      attach();  // what was started has to be waited for
    } catch (...) {
      fail(starting_, std::current_exception());
    }
  }
  if (complete()) finish();
}

/// Neighbouring native stages become one actor; what nobody takes is collected by one more.
inline void run::arrange() {
  std::size_t first = 0, end = stages_.size();
  if (dynamic_cast<const end_stage*>(stages_.front().get())) head_end_ = first++;
  if (end > first && dynamic_cast<const end_stage*>(stages_.back().get())) tail_end_ = --end;
  if (options_.open_in) actors_.push_back({actor::native, no_stage, no_stage});
  for (std::size_t i = first; i < end; ++i) {
    const stage* s = stages_[i].get();
    if (dynamic_cast<const process_stage*>(s))
      actors_.push_back({actor::process, i, i});
    else if (dynamic_cast<const thread_stage*>(s))
      actors_.push_back({actor::thread, i, i});
    else if (!actors_.empty() && actors_.back().what == actor::native) {
      if (actors_.back().first == no_stage) actors_.back().first = i;
      actors_.back().last = i;
    } else
      actors_.push_back({actor::native, i, i});
  }
  if (actors_.empty()) actors_.push_back({actor::native, no_stage, no_stage});  // a file into another
  if (tail_end_ || actors_.back().what == actor::native) return;
  const auto* p = dynamic_cast<const process_stage*>(stages_[actors_.back().last].get());
  if (!p || p->what.spec().capture_out || options_.open_out) actors_.push_back({actor::native, no_stage, no_stage});
}

inline void run::start_actors() {
  const bool threads =
      std::any_of(actors_.begin(), actors_.end(), [](const actor& a) { return a.what == actor::thread; });
  if (threads || options_.stop.stop_possible()) ensure_wake();
  if (threads) {
    cancel_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!cancel_) throw system_error("cannot create an event descriptor", errno);
    cancel_ = above_stdio(std::move(cancel_));
  }
  unique_fd head = head_end_ ? open_end(*head_end_) : unique_fd();  // first: a missing file starts nothing
  joint behind;
  if (tail_end_) behind.fd = open_end(*tail_end_);
  for (std::size_t i = actors_.size(); i-- > 0;) {
    actor& a = actors_[i];
    if (a.first != no_stage) starting_ = a.first;
    joint before, next;
    if (i > 0) {
      pipe_ends ends = make_pipe(pipe_size_behind(actors_[i - 1]));
      struct stat st;
      ::fstat(ends.read.get(), &st);
      pipes_.push_back(st.st_ino);
      if (a.what != actor::native && actors_[i - 1].what != actor::native) ++kernel_joints_;
      before = {std::move(ends.read), true, st.st_ino};
      next = {std::move(ends.write), true, st.st_ino};
    } else {
      before.fd = std::move(head);
    }
    switch (a.what) {
      case actor::process:
        start_process(a, std::move(before), std::move(behind));
        break;
      case actor::thread:
        start_thread(a, std::move(before), std::move(behind));
        break;
      case actor::native:
        start_segment(a, std::move(before), std::move(behind));
        break;
    }
    behind = std::move(next);
    if (ending_) return;  // a process could not be started
  }
}

inline std::size_t run::pipe_size_behind(const actor& a) const {
  if (a.what != actor::process) return 0;
  return static_cast<const process_stage&>(*stages_[a.first]).what.spec().pipe_size;
}

/// A file with the mode of the one it will replace, in the same directory.
inline unique_fd run::open_replacement(const std::filesystem::path& path) {
  struct stat st;
  const bool exists = ::stat(path.c_str(), &st) == 0;
  if (exists && !S_ISREG(st.st_mode)) return open_file(path, O_WRONLY | O_TRUNC);
  replaced_ = exists ? std::filesystem::canonical(path) : path;  // a symbolic link stays one
  for (unsigned attempt = 0;; ++attempt) {
    static std::atomic<unsigned> number{0};
    temporary_ = replaced_.string() + ".nbio-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
    unique_fd fd(
        retry_eintr([&] { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
    if (fd) {
      if (exists) (void)::fchmod(fd.get(), st.st_mode & 07777);
      return fd;
    }
    const int why = errno;
    if (why == EEXIST && attempt < 100) continue;
    temporary_.clear();
    throw system_error("cannot create a file beside", why, replaced_.string(), "is the directory there and writable?");
  }
}

inline unique_fd run::open_end(std::size_t index) {
  starting_ = index;
  const auto& e = static_cast<const end_stage&>(*stages_[index]);
  switch (e.mode) {
    case end_stage::how::read:
      return above_stdio(open_file(e.path, O_RDONLY));
    case end_stage::how::replace:
      return above_stdio(open_replacement(e.path));
    case end_stage::how::truncate:
      return above_stdio(open_file(e.path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    case end_stage::how::append:
      return above_stdio(open_file(e.path, O_WRONLY | O_CREAT | O_APPEND, 0666));
    case end_stage::how::descriptor:
      break;
  }
  unique_fd copy(::fcntl(e.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!copy) throw system_error("cannot use descriptor " + std::to_string(e.fd), errno);
  return copy;
}

inline unique_fd run::open_error_output(const process_spec& spec, unique_fd& ours) {
  if (std::holds_alternative<to_null>(spec.err)) return above_stdio(open_file("/dev/null", O_WRONLY));
  if (const auto* path = std::get_if<std::filesystem::path>(&spec.err))
    return above_stdio(open_file(*path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
  if (!std::holds_alternative<capture>(spec.err) && !std::holds_alternative<std::function<void(view)>>(spec.err))
    return {};
  pipe_ends ends = make_pipe();
  struct stat st;
  ::fstat(ends.read.get(), &st);
  pipes_.push_back(st.st_ino);
  set_nonblocking(ends.read.get());
  ours = std::move(ends.read);
  return std::move(ends.write);
}

inline void run::start_process(actor& a, joint in, joint out) {
  const process_spec& spec = static_cast<const process_stage&>(*stages_[a.first]).what.spec();
  if (!in.fd && !spec.inherit_in) in.fd = above_stdio(open_file("/dev/null", O_RDONLY));
  unique_fd err_of_ours;
  const unique_fd err = open_error_output(spec, err_of_ours);
  const int err_of_child = std::holds_alternative<to_stdout>(spec.err) ? STDOUT_FILENO : err.get();
  running& r = children_.emplace_back();  // room first: what runs must have somebody who waits for it
  started s;
  try {
    s = spawn(spec, in.fd.get(), out.fd.get(), err_of_child);
    if (s.error == 0) r.who.emplace(s.pid);
  } catch (...) {
    children_.pop_back();
    if (s.pid > 0) {
      ::kill(s.pid, SIGKILL);
      retry_eintr([&] { return ::waitpid(s.pid, nullptr, 0); });
    }
    throw;
  }
  if (s.error != 0) {
    children_.pop_back();
    result_.stages[a.first].spawn_errno = s.error;
    return fail(a.first, nullptr);
  }
  a.index = children_.size() - 1;
  r.stage = a.first;
  r.spec = &spec;
  r.err = std::move(err_of_ours);
  r.out_pipe = out.inode;
  result_.stages[a.first].st = r.who->status();
  result_.stages[a.first].st.pid = s.pid;
}

inline void run::start_thread(actor& a, joint in, joint out) {
  if (!in.fd) in.fd = above_stdio(open_file("/dev/null", O_RDONLY));
  if (in.is_pipe) set_nonblocking(in.fd.get());
  if (out.is_pipe) set_nonblocking(out.fd.get());
  a.index = threads_.size();
  auto body = static_cast<thread_stage&>(*stages_[a.first]).make();
  const signals_blocked quiet;  // the thread takes no signal of the host's, and SIGPIPE is none of its
  threads_.emplace_back(a.first, std::move(in.fd), std::move(out.fd), std::move(body), cancel_.get(), wake_.get())
      .start();
}

inline void run::start_segment(actor& a, joint in, joint out) {
  a.index = segments_.size();
  segment& s = segments_.emplace_back();
  s.number = a.index;
  s.first_stage = a.first;
  const bool first = &a == &actors_.front(), last = &a == &actors_.back();
  if (in.fd) {
    if (in.is_pipe) set_nonblocking(in.fd.get());
    auto reader = std::make_unique<fd_link>(in.fd.get(), in.is_pipe);
    s.reader = reader.get();
    s.in_watch.fd = in.fd.get();
    s.in = std::move(in.fd);
    s.add(std::move(reader), no_stage);
  } else if (first && options_.open_in) {
    auto open = std::make_unique<open_link>();
    head_ = open.get();
    head_segment_ = &s;
    s.add(std::move(open), no_stage);
  }
  if (a.first != no_stage) add_links(s, a.first, a.last);
  if (out.fd) {
    s.into = segment::target::descriptor;
    s.out_is_own_pipe = out.is_pipe;
    if (out.is_pipe) set_nonblocking(out.fd.get());
    s.out_watch.fd = out.fd.get();
    s.out = std::move(out.fd);
  } else if (last) {
    s.into = options_.open_out ? segment::target::caller : segment::target::memory;
    if (options_.open_out)
      tail_ = &s;
    else if (options_.expected != 0)
      result_.out.reserve(options_.expected);
  }
}

inline void run::add_links(segment& s, std::size_t first, std::size_t last) {
  std::optional<by_line> lines;
  for (std::size_t i = first; i <= last; ++i) {
    const auto& described = static_cast<link_stage&>(*stages_[i]);
    auto l = const_cast<link_stage&>(described).make();
    l->lines = lines;
    if (const auto* cut = dynamic_cast<const lines_stage*>(&described))
      lines = cut->how;
    else if (!described.keeps_lines)
      lines.reset();
    s.add(std::move(l), i);
  }
}

/// Everything is there: waits for it from now on.
inline void run::attach() {
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const running& r = children_[i];
    if (!r.who->ended()) add_watch(r.who->fd(), EPOLLIN, tag(kind::ended, i));
    if (r.err) add_watch(r.err.get(), EPOLLIN, tag(kind::error_output, i));
  }
  if (outer_cancel() >= 0) add_watch(outer_cancel(), EPOLLIN, tag(kind::outer, 0));
  if (options_.stop.stop_possible() && wake_) stop_callback_.emplace(options_.stop, on_stop{this});
  for (segment& s : segments_) pump(s);
}

/// Which stages failed. From last to first, since a SIGPIPE is no failure when what is behind had enough and ended
/// well.
inline void run::judge() {
  bool behind_is_well = false;  // behind the last stage is nobody
  bool behind_left = false;
  bool counts = true;
  for (std::size_t i = actors_.size(); i-- > 0;) {
    const actor& a = actors_[i];
    if (a.what == actor::native) {
      const segment* s = a.index < segments_.size() ? &segments_[a.index] : nullptr;
      const bool collector = a.first == no_stage;
      behind_is_well = s && !collector && !s->failed && !ending_;
      behind_left = s && !s->had_all();
      continue;
    }
    stage_report& report = result_.stages[a.first];
    if (a.what == actor::thread) {
      behind_is_well = !report.failed && !ending_;
      behind_left = true;
      continue;
    }
    const running* r = nullptr;
    for (const running& c : children_)
      if (c.stage == a.first) r = &c;
    if (!r) continue;  // never started
    const exit_status& st = report.st;
    bool well = st.known && st.signal == 0 && r->spec->is_good(st.code);
    if (!well && r->killed && (!st.known || st.signal != 0 || r->spec->grace.count() > 0)) {
      report.killed_by_us = true;
    } else if (!well && behind_left && died_of_sigpipe(*r) && r->reader_had_left) {
      report.sigpipe_upstream = true;
      well = behind_is_well;
      report.failed = !well && (counts || options_.pipefail);
    } else if (!well && (counts || options_.pipefail)) {
      report.failed = true;
    }
    counts = false;  // without pipefail only the last process does
    behind_is_well = well;
    behind_left = true;
  }
}

/// The file at the tail appears when all went well, else not at all.
inline void run::settle_files() {
  if (temporary_.empty()) return;
  if (result_ && ::rename(temporary_.c_str(), replaced_.c_str()) == 0) return;
  if (result_) {
    stage_report& r = result_.stages[*tail_end_];
    r.exc = std::make_exception_ptr(system_error("cannot replace", errno, replaced_.string()));
    r.failed = true;
  }
  ::unlink(temporary_.c_str());
}

}  // namespace fussy::nbio::detail
