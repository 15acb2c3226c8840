#include <fussy/archive.hpp>
#include <fussy/pack.hpp>

#include "archive/names.hpp"
#include "base/temporary.hpp"
#include "base/watched.hpp"
#include "pack/gpg.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace fussy::pack {
namespace {

namespace fs = std::filesystem;

const char* suffix_of(codec::format f) {
  switch (f) {
    case codec::format::gzip:
      return ".tar.gz";
    case codec::format::bzip2:
      return ".tar.bz2";
    case codec::format::zstd:
      return ".tar.zst";
    case codec::format::none:
    case codec::format::deflate:
    case codec::format::zlib:
      break;
  }
  throw error(errc::usage, {.what = "cannot pack with this compression",
                            .why = "an archive on a device is recognised by its gzip, bzip2 or zstd header",
                            .remedy = "choose one of them"});
}

const char* suffix_of(const openpgp::sign_options& how) { return how.armor ? ".asc" : ".gpg"; }

fs::path checked_root(const fs::path& root) {
  std::error_code ec;
  const fs::path real = fs::canonical(root, ec);
  if (ec) throw system_error("cannot pack", ec.value(), root.string(), "name an existing directory");
  if (!fs::is_directory(real, ec)) {
    throw error(errc::usage, {.what = "cannot pack " + root.string(),
                              .why = "it is not a directory",
                              .remedy = "name the directory that holds the application",
                              .path = root.string()});
  }
  return real;
}

/// Why a device could not run this hook; empty where it can, or there is none.
std::string why_not_a_hook(const fs::path& hook) {
  struct stat st {};
  if (::lstat(hook.c_str(), &st) != 0) return {};
  if (S_ISLNK(st.st_mode)) return {};  // its end is where the device says
  if (!S_ISREG(st.st_mode)) return "it is no file";
  if ((st.st_mode & 0111) == 0) return "it is not executable (chmod 755)";
  const unique_fd fd(::open(hook.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return {};  // packing will say so
  file_reader file(fd.get());
  std::string first(256, '\0');
  first.resize(read_full(file, {reinterpret_cast<std::byte*>(first.data()), first.size()}));
  if (!first.starts_with("#!"))
    return first.starts_with("\177ELF") ? "" : "its first line names no interpreter (#!/bin/sh)";
  first.resize(std::min(first.find('\n'), first.size()));
  return first.ends_with('\r') ? "its lines end as on Windows, with a carriage return" : "";
}

/// Found here, a hook that cannot run costs a minute; found on the device, an upgrade.
void warn_of_hooks(const fs::path& root, const std::string& version, const options& opts) {
  for (const std::string name : {".pre-install", ".post-install"}) {
    if (archive::is_excluded(opts.exclude, version + "/" + name)) continue;
    if (const std::string why = why_not_a_hook(root / name); !why.empty())
      log(opts.log, log_level::warning, fmt::format("{} will fail on every device: {}", name, why));
  }
}

// The name as the user wrote it counts, not what a link leads to: `-r build/current` is the mistake to catch.
std::string checked_name(const fs::path& root, const fs::path& real) {
  fs::path written = root.lexically_normal();
  if (!written.has_filename()) written = written.parent_path();
  std::string name = written.filename().string();
  if (name.empty() || name == "." || name == "..") name = real.filename().string();
  if (const std::string why = why_not_a_version_name(name); !why.empty()) {
    throw error(errc::usage, {.what = fmt::format("cannot pack {} as \"{}\"", root.string(), name),
                              .why = why,
                              .remedy = "rename the directory, for instance to firmware-2.1",
                              .path = root.string()});
  }
  return name;
}

std::string file_stem(const options& opts, const std::string& name, const char* suffix) {
  std::string stem = opts.name.empty() ? name : opts.name;
  if (stem.ends_with(suffix)) stem.resize(stem.size() - std::string_view(suffix).size());
  if (stem.empty() || stem.find('/') != std::string::npos) {
    throw error(errc::usage, {.what = fmt::format("cannot name a package \"{}\"", opts.name),
                              .why = "it is a file name, not a path",
                              .remedy = "give a name such as firmware-2.1"});
  }
  return stem;
}

/// A file that appears under its name only when it is complete; otherwise nothing stays.
class atomic_file {
public:
  explicit atomic_file(fs::path path)
      : path_(std::move(path)),
        part_(path_.string() + ".part"),
        fd_(open_file(part_, O_WRONLY | O_CREAT | O_EXCL, 0644)) {}
  atomic_file(const atomic_file&) = delete;
  ~atomic_file() {
    if (!committed_) ::unlink(part_.c_str());
  }
  int fd() const noexcept { return fd_.get(); }
  const fs::path& written() const noexcept { return part_; }
  file_writer writer() const { return file_writer(fd_.get(), part_.string()); }
  void commit() {
    if (::fsync(fd_.get()) != 0) throw system_error("cannot make durable", errno, part_.string());
    if (::rename(part_.c_str(), path_.c_str()) != 0) throw system_error("cannot name", errno, path_.string());
    committed_ = true;
  }

private:
  fs::path path_, part_;
  unique_fd fd_;
  bool committed_ = false;
};

openpgp::keyring load_keyring(const signing& proof) {
  openpgp::keyring::options ring;
  ring.passphrase = proof.passphrase;
  return openpgp::keyring::load(proof.keyring.empty() ? default_keyring() : proof.keyring, ring);
}

/// Lets `content` write so that it arrives in the file signed and encrypted as asked.
void with_proof(const atomic_file& to, const signing& proof, const content_producer& content,
                const std::stop_token& stop) {
  if (proof.by == signing::program::gpg) return sign_with_gpg(to.fd(), proof, content, stop);
  openpgp::message_writer message(to.writer(), load_keyring(proof), proof.how);
  any_writer into = by_reference(message);
  content(into);
  message.finish();
}

void write_archive(any_writer& to, const fs::path& real, const std::string& name, const options& opts) {
  archive::create_options how;
  how.exclude = opts.exclude;
  for (const char* always : {".svn", ".bzr", ".git"}) how.exclude.emplace_back(always);
  how.clamp_mtime = opts.clamp_mtime;
  how.root_owner = opts.root_owner;
  how.log = opts.log;
  codec::compressor compressed{by_reference(to), opts.compression, opts.level};
  any_writer below = by_reference(compressed);
  base::watched_writer watched(std::move(below), {.at = phase::packing}, opts.progress, opts.stop);
  any_writer tar = by_reference(watched);
  archive::create(tar, real, name, how);
  compressed.finish();
  watched.finish();
}

}  // namespace

fs::path default_keyring() {
  if (const char* home = std::getenv("GNUPGHOME"); home != nullptr && *home != '\0') return home;
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return fs::path(home) / ".gnupg";
  throw error(errc::keyring_unusable, {.what = "cannot tell where the signing key is",
                                       .why = "neither GNUPGHOME nor HOME is set",
                                       .remedy = "set GNUPGHOME, or name the key ring"});
}

std::string why_not_a_version_name(std::string_view name) {
  if (name.empty()) return "the name is empty";
  if (name.size() > 255) return "the name has more than 255 bytes";
  if (name == "current" || name == "failsafe") return "devices use this name themselves";
  if (name.front() == '.') return "a version may not be hidden";
  for (const char c : name) {
    if (c == '/') return "a name has no slash";
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "the name has a control character";
  }
  return {};
}

fs::path pack(const fs::path& root, const options& opts) {
  const char* const suffix = suffix_of(opts.compression);
  const fs::path real = checked_root(root);
  const std::string name = checked_name(root, real);
  const std::string stem = file_stem(opts, name, suffix);
  warn_of_hooks(real, name, opts);

  std::optional<base::temporary_directory> fresh;
  if (opts.directory.empty()) fresh.emplace("pack");
  const fs::path directory = fs::absolute(fresh ? fresh->path() : opts.directory);
  const fs::path path = directory / (stem + suffix + (opts.sign ? suffix_of(opts.proof.how) : ""));

  atomic_file file(path);
  const auto archive = [&](any_writer& to) { write_archive(to, real, name, opts); };
  if (opts.sign) {
    with_proof(file, opts.proof, archive, opts.stop);
  } else {
    any_writer into = file.writer();
    archive(into);
  }
  base::obey(opts.stop, "writing the package");
  file.commit();
  if (fresh) fresh->keep();
  return path;
}

namespace {

bool is_packet(byte_view head) { return !head.empty() && (head[0] & std::byte{0x80}) != std::byte{}; }

/// One pass to add, one for the proof of what was there, and one for the proof of what came out: that one decides, as
/// the file could have changed in between.
fs::path add_signature(const fs::path& package, bool armored, const signing& proof, const attention& to) {
  if (proof.by == signing::program::gpg)
    throw error(errc::usage, {.what = "cannot add a signature to " + package.string(),
                              .why = "gpg cannot add to a finished package",
                              .remedy = "sign with all keys at once (-k, -k), or with a key that needs no gpg",
                              .path = package.string()});
  const openpgp::keyring keys = load_keyring(proof);
  openpgp::sign_options how = proof.how;
  how.armor = armored;
  atomic_file both(package);
  const auto watched = [&to](const fs::path& file, std::uint64_t done, std::uint64_t total) {
    return base::watched_reader(file_reader(file), {.at = phase::packing, .done = done, .total = total}, to.progress,
                                to.stop);
  };
  const std::uint64_t size = fs::file_size(package);
  openpgp::add_signatures(watched(package, 0, 3 * size), both.writer(), keys, how);
  const std::size_t before = openpgp::verify(watched(package, size, 3 * size), keys).signers().size();
  openpgp::policy rules;
  rules.min_signers = static_cast<unsigned>(before + std::max<std::size_t>(how.signers.size(), 1));
  try {
    const std::uint64_t total = 2 * size + fs::file_size(both.written());
    openpgp::verify(watched(both.written(), 2 * size, total), keys, rules);
  } catch (const error& e) {
    if (e.code() != errc::too_few_signers) throw;
    throw error(errc::usage, {.what = "cannot add a signature to " + package.string(),
                              .why = "it is signed by this key already",
                              .remedy = "name another key",
                              .path = package.string()});
  }
  base::obey(to.stop, "signing the package");
  both.commit();
  return package;
}

}  // namespace

fs::path sign(const fs::path& file, const signing& proof, const attention& to) {
  file_reader from(file);
  std::array<std::byte, 8> room{};
  const byte_view head = byte_view(room).first(read_full(from, room));
  const bool armored = as_text(head).starts_with("-----");
  if (armored || is_packet(head)) return add_signature(fs::absolute(file), armored, proof, to);
  if (!codec::sniff(head)) {
    throw error(errc::usage, {.what = "cannot sign " + file.string(),
                              .why = "it is neither a compressed archive nor a package",
                              .remedy = "make one with fussy-pack, or with fussy-pack --unsigned",
                              .path = file.string()});
  }
  const fs::path path = fs::absolute(file).string() + suffix_of(proof.how);
  atomic_file package(path);
  const auto archive = [&](any_writer& into) {
    any_writer below = by_reference(into);
    base::watched_writer watched(std::move(below), {.at = phase::packing, .total = fs::file_size(file)}, to.progress,
                                 to.stop);
    watched.write(head);
    copy(from, watched);
    watched.finish();
  };
  with_proof(package, proof, archive, to.stop);
  base::obey(to.stop, "signing the package");
  package.commit();
  if (::unlink(file.c_str()) != 0) throw system_error("cannot remove the unsigned", errno, file.string());
  return path;
}

}  // namespace fussy::pack
