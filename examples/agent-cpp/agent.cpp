// The update agent of examples/agent-c with the C++ library: the same protocol, and one command more.
//
//   agent-cpp SOCKET KEYRING TARGET
//
//   install, status, cancel   as there
//   space                     answered by `space` and what df(1) says of the target: a pipe of two processes that the
//                             agent's loop drives through nbio, while it serves everybody else
//
// Nothing here blocks but the thread that installs. It reads the package from the client's socket itself, obeys a
// std::stop_token, and posts what it has to say to the loop.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <fussy/install.hpp>
#include <fussy/nbio.hpp>

#include <csignal>
#include <cstdio>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace {

using namespace fussy;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

constexpr auto patience = 5s;          // for a client that has to say what it wants, or to end when it has its answer
constexpr auto upload_patience = 30s;  // for an upload that brings nothing

unique_fd checked(int fd, const char* what) {
  if (fd < 0) throw system_error(what, errno);
  return unique_fd(fd);
}

/// A descriptor that becomes readable when set; wakes a poll(2).
class event {
public:
  event() : fd_(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "cannot make an event")) {}
  void set() const noexcept { (void)::eventfd_write(fd_.get(), 1); }
  void clear() const noexcept {
    eventfd_t ignored;
    (void)::eventfd_read(fd_.get(), &ignored);
  }
  int fd() const noexcept { return fd_.get(); }

private:
  unique_fd fd_;
};

/// A reader of a socket that a stop request ends, also when nothing comes.
class socket_reader {
public:
  socket_reader(int fd, std::stop_token stop)
      : fd_(fd),
        stopped_(std::make_unique<event>()),
        on_stop_(std::make_unique<callback>(stop, waker{stopped_.get()})) {}

  std::size_t read(byte_span room) {
    for (;;) {
      pollfd ends[2] = {{fd_, POLLIN, 0}, {stopped_->fd(), POLLIN, 0}};
      if (::poll(ends, 2, -1) < 0 && errno != EINTR) throw system_error("cannot wait for the package", errno);
      if (ends[1].revents != 0) throw error(errc::cancelled, "receiving the package was cancelled");
      if (ends[0].revents == 0) continue;
      const ssize_t n = ::recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EAGAIN && errno != EINTR) throw system_error("cannot receive the package", errno);
    }
  }

private:
  struct waker {
    event* stopped;
    void operator()() const noexcept { stopped->set(); }
  };
  using callback = std::stop_callback<waker>;
  int fd_;
  std::unique_ptr<event> stopped_;
  std::unique_ptr<callback> on_stop_;
};

/// An install on a thread of its own. What it has to say are lines; the loop takes them when `news` is readable.
class installation {
public:
  installation(unique_fd client, install::options how, const event& news)
      : client_(std::move(client)), news_(news), how_(std::move(how)), last_(clock_type::now()) {
    how_.stop = stop_.get_token();
    how_.progress = [this](const progress& now) {
      say(std::string("progress ") + name(now.at) + " " + std::to_string(now.done), &now);
    };
    thread_ = std::thread([this] { run(); });
  }
  ~installation() {
    stop_.request_stop();
    thread_.join();
  }
  void cancel() { stop_.request_stop(); }
  const unique_fd& client() const noexcept { return client_; }
  unique_fd take_client() noexcept { return std::move(client_); }

  struct state {
    std::deque<std::string> lines;
    progress now;
    bool finished;
    clock_type::time_point last;
  };
  state take() {
    std::lock_guard hold(mutex_);
    return {std::exchange(lines_, {}), now_, finished_, last_};
  }

private:
  void run() noexcept {
    try {
      const auto done = install::install(any_reader(socket_reader(client_.get(), how_.stop)), how_);
      finish("ok " + done.version);
    } catch (const error& e) {
      finish(std::string("failed ") + name(e.code()) + " " + e.what());
    } catch (const std::exception& e) {
      finish(std::string("failed failure ") + e.what());
    }
  }
  void finish(const std::string& line) {
    std::lock_guard hold(mutex_);
    lines_.push_back(line + "\n");
    finished_ = true;
    news_.set();
  }
  void say(std::string line, const progress* now = nullptr) {
    std::lock_guard hold(mutex_);
    lines_.push_back(std::move(line) + "\n");
    if (now) now_ = *now;
    last_ = clock_type::now();
    news_.set();
  }

  unique_fd client_;
  const event& news_;
  install::options how_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::deque<std::string> lines_;
  progress now_;
  bool finished_ = false;
  clock_type::time_point last_;
  std::thread thread_;  // last: it uses all of the above
};

struct client {
  unique_fd fd;
  std::string line{};
  bool answered = false;  // all is said; what it still sends is thrown away
  clock_type::time_point since = clock_type::now();
};

/// A pipe that runs for a client.
struct query {
  nbio::job job;
  unique_fd client;
};

class agent {
public:
  agent(const char* path, const char* keyring, const char* target) : path_(path) {
    how_.keyring = keyring;
    how_.target = target;
    recover();
    listen();
  }
  ~agent() { ::unlink(path_.c_str()); }

  void serve() {
    while (!stopping_ || install_) turn();
  }

private:
  void recover() {
    try {
      install::recover(how_);
    } catch (const error& e) {
      std::fprintf(stderr, "agent: %s\n", e.what());
    }
  }

  void listen() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) throw error(errc::usage, path_ + " is too long for a socket");
    path_.copy(address.sun_path, path_.size());
    ::unlink(path_.c_str());
    listening_ = checked(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "cannot make a socket");
    const mode_t before = ::umask(077);  // who may connect may install: root, and nobody else
    const int bound = ::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::umask(before);
    if (bound != 0 || ::listen(listening_.get(), 8) != 0) throw system_error("cannot listen at", errno, path_);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);  // before any thread: they inherit it
    signals_ = checked(::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK), "cannot watch for signals");
  }

  /// One turn of the loop. nbio is one descriptor in it, however many pipes run.
  void turn() {
    std::vector<pollfd> ends{{signals_.get(), POLLIN, 0},
                             {stopping_ ? -1 : listening_.get(), POLLIN, 0},
                             {news_.fd(), POLLIN, 0},
                             {pipes_.fd(), POLLIN, 0}};
    const std::size_t first = ends.size();
    std::vector<client*> watched;
    for (client& c : clients_) {
      ends.push_back({c.fd.get(), POLLIN, 0});
      watched.push_back(&c);
    }
    if (::poll(ends.data(), ends.size(), 1000) < 0) return;
    if (ends[0].revents != 0) stop();
    if (ends[1].revents != 0) welcome();
    if (ends[2].revents != 0) hear_install();
    if (ends[3].revents != 0) serve_pipes();
    for (std::size_t i = 0; i < watched.size(); ++i)
      if (ends[first + i].revents != 0) hear(*watched[i]);
    lose_patience();
    std::erase_if(clients_, [](const client& c) { return !c.fd; });
  }

  void stop() {
    stopping_ = true;
    if (install_) install_->cancel();
  }

  void welcome() {
    unique_fd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd && clients_.size() < 16) clients_.push_back({.fd = std::move(fd)});
  }

  void hear(client& c) {
    char bytes[65536];
    while (c.fd) {
      // Byte by byte: what follows the command is the package, and belongs to the thread.
      const ssize_t n = ::recv(c.fd.get(), bytes, c.answered ? sizeof bytes : 1, MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) return c.fd.reset();
      c.since = clock_type::now();
      if (c.answered) return;
      if (bytes[0] == '\n' || c.line.size() == 64) return obey(std::move(c.fd), c.line);
      c.line += bytes[0];
    }
  }

  void obey(unique_fd fd, const std::string& command) {
    if (command == "install" && install_)
      return answer_last(std::move(fd), "failed busy another package is being installed; retry when it has finished\n");
    if (command == "install") {
      install_.emplace(std::move(fd), how_, news_);
      if (stopping_) install_->cancel();
    } else if (command == "status") {
      answer_last(std::move(fd), status());
    } else if (command == "space") {
      const auto df = nbio::P({"df", "-P", how_.target.string()}) | nbio::P({"tail", "-n", "1"});
      queries_.push_back({df.clone().timeout(5s).start(pipes_), std::move(fd)});
    } else if (command == "cancel") {
      if (install_) install_->cancel();
      answer_last(std::move(fd), "ok\n");
    } else {
      answer_last(std::move(fd), "failed usage say install, status, space or cancel\n");
    }
  }

  std::string status() {
    std::string text = "state idle\n";
    if (install_) {
      tell_uploader(install_->take());
      if (install_) text = std::string("state installing ") + name(seen_.at) + " " + std::to_string(seen_.done) + "\n";
    }
    try {
      const auto target = install::status(how_.target);
      text += "current " + target.current + "\nversions " + std::to_string(target.versions.size()) + "\n";
    } catch (const error& e) {
      text += std::string("failed ") + e.what() + "\n";
    }
    return text;
  }

  void hear_install() {
    news_.clear();
    if (install_) tell_uploader(install_->take());
  }

  void tell_uploader(const installation::state& now) {
    seen_ = now.now;
    for (std::size_t i = 0; i < now.lines.size(); ++i) {
      if (now.finished && i + 1 == now.lines.size()) break;
      answer(install_->client(), now.lines[i]);
    }
    if (!now.finished) {
      const bool receiving = now.now.at <= phase::unpacking;
      if (receiving && clock_type::now() - now.last > upload_patience) install_->cancel();
      return;
    }
    unique_fd client = install_->take_client();
    install_.reset();
    answer_last(std::move(client), now.lines.back());
  }

  void serve_pipes() {
    pipes_.step();
    for (auto q = queries_.begin(); q != queries_.end();) {
      if (!q->job.finished()) {
        ++q;
        continue;
      }
      const nbio::result r = q->job.wait();
      answer_last(std::move(q->client), r ? "space " + r.out : "failed process_failed df\n");
      q = queries_.erase(q);
    }
  }

  void lose_patience() {
    for (client& c : clients_)
      if (clock_type::now() - c.since > patience) c.fd.reset();
    if (install_) tell_uploader(install_->take());
  }

  /// A client that has gone, or does not read, is no reason to wait.
  static void answer(const unique_fd& fd, const std::string& text) {
    (void)!::send(fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  /// Closing a socket that has unread data would take the answer away from a client that is still sending.
  void answer_last(unique_fd fd, const std::string& text) {
    answer(fd, text);
    ::shutdown(fd.get(), SHUT_WR);
    clients_.push_back({.fd = std::move(fd), .answered = true});
  }

  std::string path_;
  install::options how_;
  unique_fd listening_, signals_;
  event news_;
  nbio::loop pipes_;
  std::list<client> clients_;
  std::list<query> queries_;
  std::optional<installation> install_;
  progress seen_;
  bool stopping_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s SOCKET KEYRING TARGET\n", argv[0]);
    return 2;
  }
  try {
    agent(argv[1], argv[2], argv[3]).serve();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "agent: %s\n", e.what());
    return 2;
  }
}
