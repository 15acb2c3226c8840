/// @file system_log.hpp  The log of the system: journald in its own protocol, with fields, or else syslog(3).
/// Threads: one at a time.
/// Errors:  none: a log that cannot be written is no reason to fail.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fussy::cli {

class system_log {
public:
  /// Names and values. A name has capitals, digits and underscores; a value may be anything.
  using fields = std::vector<std::pair<std::string_view, std::string>>;

  /// @param name  of the command
  explicit system_log(std::string name)
      : name_(std::move(name)), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    ::openlog(name_.c_str(), LOG_PID, LOG_DAEMON);
  }

  /// @param message  without a line end
  void write(int priority, const std::string& message, const fields& more) const {
    if (!to_journal(priority, message, more)) ::syslog(priority, "%s", message.c_str());
  }

private:
  /// One datagram (systemd's "Native Journal Protocol"). The address is looked up each time: a journald that is started
  /// again is found again. @return false: there is none, or it does not take this
  bool to_journal(int priority, const std::string& message, const fields& more) const {
    std::string entry;
    add(entry, "MESSAGE", message);
    add(entry, "PRIORITY", std::to_string(priority));
    add(entry, "SYSLOG_FACILITY", std::to_string(LOG_DAEMON >> 3));
    add(entry, "SYSLOG_IDENTIFIER", name_);
    add(entry, "SYSLOG_PID", std::to_string(::getpid()));
    for (const auto& [field, value] : more) add(entry, field, value);
    const sockaddr_un journal{.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    return retry_eintr([&] {
             return ::sendto(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&journal), sizeof journal);
           }) >= 0;
  }

  /// A line, or, where a line end in the value would begin another field, its size in front of it: 64 bits, little end
  /// first.
  static void add(std::string& entry, std::string_view field, std::string_view value) {
    entry.append(field);
    if (value.find('\n') == value.npos) {
      entry.append("=");
    } else {
      entry.append("\n");
      for (int shift = 0; shift < 64; shift += 8)
        entry += static_cast<char>(static_cast<std::uint64_t>(value.size()) >> shift & 0xff);
    }
    entry.append(value).append("\n");
  }

  std::string name_;
  unique_fd socket_;
};

}  // namespace fussy::cli
