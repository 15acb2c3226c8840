// Pipes of processes and functions of the host; in a build without, the functions are there and say so.
#include "guard.hpp"

using namespace fussy;
using namespace fussy::capi;

#ifdef FUSSY_WITH_PIPES

#include <fussy/nbio.hpp>

#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace {

struct host_function {
  fussy_stage_callback call;
  void* user;
};
using stage = std::variant<nbio::process, host_function>;

struct no_end {};
struct descriptor {
  int fd;
};
struct reading {
  fussy_read_callback call;
  void* user;
};
struct writing {
  fussy_write_callback call;
  void* user;
};
using input = std::variant<no_end, descriptor, std::string, reading>;
using output = std::variant<no_end, descriptor, writing>;

[[noreturn]] void fail(const char* what, int64_t negated_errno) {
  throw system_error(what, static_cast<int>(-std::max<int64_t>(negated_errno, -4095)), {},
                     "see the program that has the callback");
}

}  // namespace

/// What a callback has written and the next stage not yet taken.
struct fussy_stage_output {
  std::string pending;
  std::size_t taken = 0;
};

namespace {

/// A stage of the host as nbio wants it.
class host_stage {
public:
  explicit host_stage(host_function f) : function_(f) {}

  nbio::progress step(std::span<const char> in, std::span<char> out, bool eof) {
    std::size_t consumed = 0;
    if (is_drained() && !in.empty()) {
      call(in.data(), in.size());
      consumed = in.size();
    }
    if (is_drained() && eof && consumed == in.size() && !ended_) {
      ended_ = true;
      call(nullptr, 0);
    }
    const std::size_t produced = drain(out);
    return {consumed, produced,
            !is_drained() ? nbio::flow::need_output
            : ended_      ? nbio::flow::done
                          : nbio::flow::need_input};
  }

private:
  bool is_drained() const noexcept { return out_.taken == out_.pending.size(); }
  void call(const void* data, std::size_t size) {
    out_ = {};
    if (const int32_t status = function_.call(function_.user, data, size, &out_); status != 0)
      fail("a stage of the host failed", status);
  }
  std::size_t drain(std::span<char> out) noexcept {
    const std::size_t n = std::min(out.size(), out_.pending.size() - out_.taken);
    std::copy_n(out_.pending.data() + out_.taken, n, out.data());
    out_.taken += n;
    return n;
  }

  host_function function_;
  fussy_stage_output out_;
  bool ended_ = false;
};

class host_source {
public:
  explicit host_source(reading from) : from_(from), buffer_(std::make_shared<std::vector<char>>(64 * 1024)) {}
  std::optional<nbio::view> operator()() {
    const int64_t n = from_.call(from_.user, buffer_->data(), buffer_->size());
    if (n < 0) fail("cannot read the input of the pipe", n);
    if (n == 0) return std::nullopt;
    if (static_cast<uint64_t>(n) > buffer_->size())
      refuse("a fussy_read_callback", "it says that it wrote more than there was room for", "correct the program");
    return nbio::view(buffer_->data(), static_cast<std::size_t>(n));
  }

private:
  reading from_;
  std::shared_ptr<std::vector<char>> buffer_;
};

struct host_sink {
  writing to;
  void write(byte_view bytes) {
    if (const int32_t status = to.call(to.user, bytes.data(), bytes.size()); status != 0)
      fail("cannot write the output of the pipe", status);
  }
};

}  // namespace

struct fussy_pipe {
  std::vector<stage> stages;
  input in;
  output out;
  uint64_t max_output = 0;
  uint64_t timeout = 0;

  std::optional<nbio::job> job;
  nbio::result result;
  fussy_report report = FUSSY_REPORT_INIT;
  char message[sizeof report.message] = "";
  std::atomic<bool> busy = false;

  nbio::process& last_process(const char* function) {
    auto* process = stages.empty() ? nullptr : std::get_if<nbio::process>(&stages.back());
    if (process == nullptr) refuse(function, "the stage added last is no process", "call it right after adding one");
    return *process;
  }
  nbio::pipe build() const;
};

nbio::pipe fussy_pipe::build() const {
  if (stages.empty() || !std::holds_alternative<nbio::process>(stages.front()))
    throw error(errc::usage, {.what = "cannot run the pipe",
                              .why = "its first stage is no process",
                              .remedy = "call fussy_pipe_add_process() or fussy_pipe_add_shell() first"});
  nbio::pipe p(std::get<nbio::process>(stages.front()));
  for (std::size_t i = 1; i < stages.size(); ++i) {
    if (const auto* process = std::get_if<nbio::process>(&stages[i]))
      p = std::move(p) | nbio::pipe(*process);
    else
      p = std::move(p) | host_stage(std::get<host_function>(stages[i]));
  }
  if (const auto* from = std::get_if<descriptor>(&in)) p = nbio::fd(from->fd) | std::move(p);
  if (const auto* from = std::get_if<std::string>(&in)) p = std::string(*from) | std::move(p);
  if (const auto* from = std::get_if<reading>(&in)) p = host_source(*from) | std::move(p);
  if (const auto* to = std::get_if<descriptor>(&out)) p = std::move(p) | nbio::fd(to->fd);
  if (const auto* to = std::get_if<writing>(&out)) p = std::move(p) | host_sink{*to};
  if (max_output > 0) p = std::move(p).limit_output(static_cast<std::size_t>(std::min<uint64_t>(max_output, SIZE_MAX)));
  if (timeout > 0) p = std::move(p).timeout(milliseconds(timeout));
  return p;
}

namespace {

/// Runs the body of a function of a pipe; `runs`: it is part of a run, whose outcome goes into the report.
template <class Body>
int32_t call(const fussy_pipe* pipe, bool runs, Body&& body) noexcept {
  if (pipe == nullptr) return FUSSY_USAGE;
  auto& p = const_cast<fussy_pipe&>(*pipe);  // the message is no setting
  if (p.busy.exchange(true)) return FUSSY_USAGE;
  p.message[0] = '\0';
  const int32_t status = guarded([&] { std::forward<Body>(body)(p); },
                                 [&](const problem& what) {
                                   copy_text(p.message, what.message);
                                   if (runs) describe(p.report, what);
                                 });
  p.busy = false;
  return status;
}

/// A setting, which a run that was started does not see any more.
template <class Body>
int32_t set(fussy_pipe* pipe, const char* function, Body&& body) noexcept {
  return call(pipe, false, [&](fussy_pipe& p) {
    if (p.job) refuse(function, "the pipe runs", "wait for its end, or cancel it");
    std::forward<Body>(body)(p);
  });
}

void begin(fussy_pipe& p) {
  p.report = FUSSY_REPORT_INIT;
  p.result = {};
}

void keep(fussy_pipe& p, nbio::result r) {
  p.result = std::move(r);
  p.result.check();
}

}  // namespace

int32_t fussy_pipe_new(fussy_pipe** pipe) {
  if (pipe == nullptr) return FUSSY_USAGE;
  return guarded([&] { *pipe = new fussy_pipe; }, [](const problem&) {});
}

void fussy_pipe_free(fussy_pipe* pipe) {
  const no_cancellation calm;
  delete pipe;
}

const char* fussy_pipe_message(const fussy_pipe* pipe) {
  return pipe == nullptr ? "there is no pipe; make one with fussy_pipe_new()" : pipe->message;
}

int32_t fussy_pipe_report(const fussy_pipe* pipe, fussy_report* report) {
  if (pipe == nullptr || report == nullptr || pipe->busy) return FUSSY_USAGE;
  fussy_report copy = pipe->report;
  publish(report, copy);
  return FUSSY_OK;
}

int32_t fussy_pipe_add_process(fussy_pipe* pipe, const char* const* argv) {
  return set(pipe, "fussy_pipe_add_process", [&](fussy_pipe& p) {
    if (argv == nullptr || argv[0] == nullptr || argv[0][0] == '\0')
      refuse("fussy_pipe_add_process", "there is no program", "pass a list that begins with one and ends with NULL");
    std::vector<std::string> list;
    for (const char* const* argument = argv; *argument != nullptr; ++argument) list.emplace_back(*argument);
    p.stages.emplace_back(nbio::process(std::move(list)));
  });
}

int32_t fussy_pipe_add_shell(fussy_pipe* pipe, const char* command) {
  return set(pipe, "fussy_pipe_add_shell", [&](fussy_pipe& p) {
    if (command == nullptr) refuse("fussy_pipe_add_shell", "there is no command", "pass one for /bin/sh");
    p.stages.emplace_back(nbio::process(command));
  });
}

int32_t fussy_pipe_add_callback(fussy_pipe* pipe, fussy_stage_callback function, void* user) {
  return set(pipe, "fussy_pipe_add_callback", [&](fussy_pipe& p) {
    if (function == nullptr) refuse("fussy_pipe_add_callback", "there is no callback", "pass one");
    p.stages.emplace_back(host_function{function, user});
  });
}

int32_t fussy_stage_write(fussy_stage_output* output, const void* data, uint64_t size) {
  if (output == nullptr || (data == nullptr && size > 0)) return FUSSY_USAGE;
  return guarded([&] { output->pending.append(static_cast<const char*>(data), static_cast<std::size_t>(size)); },
                 [](const problem&) {});
}

int32_t fussy_pipe_set_good_exit(fussy_pipe* pipe, const int32_t* codes, uint32_t count) {
  return set(pipe, "fussy_pipe_set_good_exit", [&](fussy_pipe& p) {
    if (codes == nullptr && count > 0) refuse("fussy_pipe_set_good_exit", "there are no codes", "pass some");
    nbio::process& process = p.last_process("fussy_pipe_set_good_exit");
    process = count == 0 ? process.any_exit() : process.good_exit(std::vector<int>(codes, codes + count));
  });
}

int32_t fussy_pipe_set_environment(fussy_pipe* pipe, const char* name, const char* value) {
  return set(pipe, "fussy_pipe_set_environment", [&](fussy_pipe& p) {
    if (name == nullptr || *name == '\0' || std::strchr(name, '=') != nullptr)
      refuse("fussy_pipe_set_environment", "this is no name of a variable", "pass one without `=`");
    nbio::process& process = p.last_process("fussy_pipe_set_environment");
    process = process.env(name, value ? std::optional<std::string>(value) : std::nullopt);
  });
}

int32_t fussy_pipe_set_directory(fussy_pipe* pipe, const char* path) {
  return set(pipe, "fussy_pipe_set_directory", [&](fussy_pipe& p) {
    if (path == nullptr || *path == '\0') refuse("fussy_pipe_set_directory", "there is no path", "pass one");
    nbio::process& process = p.last_process("fussy_pipe_set_directory");
    process = process.cwd(path);
  });
}

int32_t fussy_pipe_set_stderr(fussy_pipe* pipe, int32_t where) {
  return set(pipe, "fussy_pipe_set_stderr", [&](fussy_pipe& p) {
    nbio::process& process = p.last_process("fussy_pipe_set_stderr");
    switch (where) {
      case FUSSY_STDERR_INHERIT:
        process = process.err(nbio::to_parent{});
        break;
      case FUSSY_STDERR_NULL:
        process = process.err(nbio::to_null{});
        break;
      case FUSSY_STDERR_OUTPUT:
        process = process.err(nbio::to_stdout{});
        break;
      case FUSSY_STDERR_CAPTURE:
        process = process.err(nbio::capture{});
        break;
      default:
        refuse("fussy_pipe_set_stderr", "there is no such number", "pass one of FUSSY_STDERR_...");
    }
  });
}

int32_t fussy_pipe_set_input_fd(fussy_pipe* pipe, int32_t fd) {
  return set(pipe, "fussy_pipe_set_input_fd", [&](fussy_pipe& p) {
    if (fd < 0) refuse("fussy_pipe_set_input_fd", "a descriptor is not negative", "pass one that is open");
    p.in = descriptor{fd};
  });
}

int32_t fussy_pipe_set_input_buffer(fussy_pipe* pipe, const void* data, uint64_t size) {
  return set(pipe, "fussy_pipe_set_input_buffer", [&](fussy_pipe& p) {
    if (data == nullptr && size > 0) refuse("fussy_pipe_set_input_buffer", "there are no bytes", "pass some");
    p.in = std::string(static_cast<const char*>(data), static_cast<std::size_t>(size));
  });
}

int32_t fussy_pipe_set_input_callback(fussy_pipe* pipe, fussy_read_callback read, void* user) {
  return set(pipe, "fussy_pipe_set_input_callback", [&](fussy_pipe& p) {
    if (read == nullptr) refuse("fussy_pipe_set_input_callback", "there is no callback", "pass one");
    p.in = reading{read, user};
  });
}

int32_t fussy_pipe_set_output_fd(fussy_pipe* pipe, int32_t fd) {
  return set(pipe, "fussy_pipe_set_output_fd", [&](fussy_pipe& p) {
    if (fd < 0) refuse("fussy_pipe_set_output_fd", "a descriptor is not negative", "pass one that is open");
    p.out = descriptor{fd};
  });
}

int32_t fussy_pipe_set_output_callback(fussy_pipe* pipe, fussy_write_callback write, void* user) {
  return set(pipe, "fussy_pipe_set_output_callback", [&](fussy_pipe& p) {
    if (write == nullptr) refuse("fussy_pipe_set_output_callback", "there is no callback", "pass one");
    p.out = writing{write, user};
  });
}

int32_t fussy_pipe_set_max_output(fussy_pipe* pipe, uint64_t bytes) {
  return set(pipe, "fussy_pipe_set_max_output", [&](fussy_pipe& p) { p.max_output = bytes; });
}

int32_t fussy_pipe_set_timeout(fussy_pipe* pipe, uint64_t count) {
  return set(pipe, "fussy_pipe_set_timeout", [&](fussy_pipe& p) { p.timeout = count; });
}

int32_t fussy_pipe_run(fussy_pipe* pipe) {
  return call(pipe, true, [](fussy_pipe& p) {
    if (p.job) refuse("fussy_pipe_run", "the pipe runs already", "go on with fussy_pipe_step()");
    begin(p);
    keep(p, p.build().run());
  });
}

int32_t fussy_pipe_start(fussy_pipe* pipe) {
  return call(pipe, true, [](fussy_pipe& p) {
    if (p.job) refuse("fussy_pipe_start", "the pipe runs already", "go on with fussy_pipe_step()");
    begin(p);
    try {
      p.job.emplace(p.build().start());
    } catch (const nbio::pipe_error& e) {
      p.result = e.result;
      throw;
    }
  });
}

int32_t fussy_pipe_fd(const fussy_pipe* pipe, int32_t* fd) {
  return call(pipe, false, [&](fussy_pipe& p) {
    if (fd == nullptr || !p.job) refuse("fussy_pipe_fd", "nothing runs", "call fussy_pipe_start() first");
    *fd = p.job->fd();
  });
}

int32_t fussy_pipe_step(fussy_pipe* pipe, int32_t* finished) {
  return call(pipe, true, [&](fussy_pipe& p) {
    if (finished == nullptr || !p.job) refuse("fussy_pipe_step", "nothing runs", "call fussy_pipe_start() first");
    *finished = 0;
    if (!p.job->step()) return;
    *finished = 1;
    nbio::result r = p.job->wait();
    p.job.reset();
    keep(p, std::move(r));
  });
}

int32_t fussy_pipe_cancel(fussy_pipe* pipe) {
  return call(pipe, false, [](fussy_pipe& p) {
    if (p.job) p.job->kill(SIGKILL);
  });
}

int32_t fussy_pipe_output(const fussy_pipe* pipe, const void** data, uint64_t* size) {
  return call(pipe, false, [&](fussy_pipe& p) {
    if (data == nullptr || size == nullptr) refuse("fussy_pipe_output", "there is nowhere to put it", "pass both");
    *data = p.result.out.data();
    *size = p.result.out.size();
  });
}

int32_t fussy_pipe_stage(const fussy_pipe* pipe, uint32_t index, fussy_stage_report* stage) {
  if (pipe == nullptr || stage == nullptr || pipe->busy) return FUSSY_USAGE;
  if (index >= pipe->result.stages.size()) return FUSSY_NOT_FOUND;
  const nbio::stage_report& from = pipe->result.stages[index];
  fussy_stage_report to = FUSSY_STAGE_REPORT_INIT;
  to.is_process = from.is_process;
  to.exit_code = from.st.code;
  to.signal = from.st.signal;
  to.spawn_errno = from.spawn_errno;
  to.failed = from.failed;
  to.pid = from.st.pid;
  copy_text(to.name, from.name);
  std::string_view words = from.err;
  if (words.size() >= sizeof to.error) words.remove_prefix(words.size() - sizeof to.error + 1);
  copy_text(to.error, words);
  publish(stage, to);
  return FUSSY_OK;
}

#else

// No pipe can be made, so all that follows is about NULL.
int32_t fussy_pipe_new(fussy_pipe** pipe) { return pipe == nullptr ? FUSSY_USAGE : FUSSY_UNSUPPORTED; }
void fussy_pipe_free(fussy_pipe*) {}
const char* fussy_pipe_message(const fussy_pipe*) { return "this library was built without pipes"; }
int32_t fussy_pipe_report(const fussy_pipe*, fussy_report*) { return FUSSY_USAGE; }
int32_t fussy_pipe_add_process(fussy_pipe*, const char* const*) { return FUSSY_USAGE; }
int32_t fussy_pipe_add_shell(fussy_pipe*, const char*) { return FUSSY_USAGE; }
int32_t fussy_pipe_add_callback(fussy_pipe*, fussy_stage_callback, void*) { return FUSSY_USAGE; }
int32_t fussy_stage_write(fussy_stage_output*, const void*, uint64_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_good_exit(fussy_pipe*, const int32_t*, uint32_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_environment(fussy_pipe*, const char*, const char*) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_directory(fussy_pipe*, const char*) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_stderr(fussy_pipe*, int32_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_input_fd(fussy_pipe*, int32_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_input_buffer(fussy_pipe*, const void*, uint64_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_input_callback(fussy_pipe*, fussy_read_callback, void*) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_output_fd(fussy_pipe*, int32_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_output_callback(fussy_pipe*, fussy_write_callback, void*) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_max_output(fussy_pipe*, uint64_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_set_timeout(fussy_pipe*, uint64_t) { return FUSSY_USAGE; }
int32_t fussy_pipe_run(fussy_pipe*) { return FUSSY_USAGE; }
int32_t fussy_pipe_start(fussy_pipe*) { return FUSSY_USAGE; }
int32_t fussy_pipe_fd(const fussy_pipe*, int32_t*) { return FUSSY_USAGE; }
int32_t fussy_pipe_step(fussy_pipe*, int32_t*) { return FUSSY_USAGE; }
int32_t fussy_pipe_cancel(fussy_pipe*) { return FUSSY_USAGE; }
int32_t fussy_pipe_output(const fussy_pipe*, const void**, uint64_t*) { return FUSSY_USAGE; }
int32_t fussy_pipe_stage(const fussy_pipe*, uint32_t, fussy_stage_report*) { return FUSSY_USAGE; }

#endif
