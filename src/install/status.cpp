// What a target holds, looked at from outside: no lock is taken, nothing is written. What changes meanwhile may be seen
// half before and half after.
#include <fussy/install.hpp>
#include <fussy/lock/file.hpp>

#include "looking.hpp"

#include "published.hpp"

namespace fussy::install {

namespace {

std::string link_text(int directory, const std::string& name) {
  char text[512];
  const ssize_t length = ::readlinkat(directory, name.c_str(), text, sizeof text);
  return length < 0 ? std::string() : std::string(text, static_cast<std::size_t>(length));
}

version_status look_at(int root, const std::string& target, const std::string& name) {
  version_status version{.name = name, .path = target + "/" + name};
  const unique_fd fd(::openat(root, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0) return version;
  tree_usage usage;
  usage.add(st);
  usage.add_below(fd.get(), version.path.string());
  version.own = usage.own(), version.shared = usage.shared(), version.files = usage.files();
  version.installed = std::chrono::sys_seconds(std::chrono::seconds(published_at(root, name).first));
  return version;
}

void look_at_journal(int ours, status_report& report) {
  const entry_type type = entry_type_at(ours, journal_name);
  report.journal_damaged = type != entry_type::none && type != entry_type::file;
  if (type != entry_type::file) return;
  const unique_fd fd(::openat(ours, journal_name.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return;
  file_reader file(fd.get());
  const byte_vector text = read_all(file, max_journal_size * 2);
  report.in_flight = parse_journal(as_text(text));
  report.journal_damaged = !report.in_flight;
}

/// Whether somebody holds the lock, without ever holding it: the kernel knows.
void look_at_lock(int ours, status_report& report) {
  const unique_fd lock(::openat(ours, "lock", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (lock) report.busy = fussy::detail::flock_holder_in_proc(lock.get());
}

unique_fd open_ours(int root, status_report& report) {
  unique_fd ours(::openat(root, private_name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  report.private_hidden = !ours && errno == EACCES;
  return ours;
}

void look_at_ours(int root, status_report& report) {
  const unique_fd ours = open_ours(root, report);
  if (!ours) return;  // never used, or not ours to read: what can be seen without it is there
  tree_usage usage;
  usage.add_below(ours.get(), private_name);
  report.staging = usage.own() + usage.shared();
  const bool replaced = report.in_flight && report.in_flight->previous != report.current;
  const std::string previous = replaced ? report.in_flight->previous : link_text(ours.get(), previous_link);
  if (!previous.empty() && entry_type_at(root, previous) == entry_type::directory) report.previous = previous;
  const std::string failed = link_text(ours.get(), failed_link);
  if (!failed.empty() && entry_type_at(root, failed) == entry_type::directory) report.failed = failed;
}

}  // namespace

void look_at_activity(int root, status_report& report) {
  const unique_fd ours = open_ours(root, report);
  if (!ours) return;
  look_at_journal(ours.get(), report);
  look_at_lock(ours.get(), report);
}

status_report status(const std::filesystem::path& target) {
  const std::string path = target_path(target);
  const unique_fd root(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!root) throw target_error(path, errno);
  status_report report{.target = path};
  report.current = version_behind(root.get(), current_name).value_or("");
  if (entry_type_at(root.get(), failsafe_name) != entry_type::none) report.failsafe = failsafe_name;
  look_at_activity(root.get(), report);
  look_at_ours(root.get(), report);
  std::vector<std::string> names = names_in(root.get(), path);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name.front() == '.' || name == "lost+found" || entry_type_at(root.get(), name) != entry_type::directory)
      continue;
    version_status version = look_at(root.get(), path, name);
    version.current = name == report.current;
    version.previous = name == report.previous;
    version.failed = name == report.failed && !version.current;
    version.failsafe = name == failsafe_name || version_behind(root.get(), failsafe_name) == name;
    report.versions.push_back(std::move(version));
  }
  return report;
}

}  // namespace fussy::install
