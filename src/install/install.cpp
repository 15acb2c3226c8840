#include <fussy/install.hpp>

#include "hooks.hpp"
#include "looking.hpp"
#include "package.hpp"

namespace fussy::install {

namespace {

/// Lets no phase go back: a file is verified before the lock is taken.
progress_sink monotone(progress_sink sink) {
  if (!sink) return {};
  return [sink = std::move(sink), highest = phase::waiting](const progress& p) mutable {
    if (p.at < highest) return;
    highest = p.at;
    sink(p);
  };
}

transaction_options for_transaction(const options& how) {
  return {.hooks = run_hooks(how.hook_timeout, how.log), .log = how.log, .progress = how.progress, .stop = how.stop};
}

open_options for_store(const options& how) {
  if (how.progress) how.progress(progress{.at = phase::waiting});
  return {.lock_wait = how.lock_wait, .stop = how.stop};
}

bool is_of_archive(errc code) noexcept { return static_cast<int>(code) / 100 == 21; }

}  // namespace

// ---- The transaction on a real directory ------------------------------------------------------------------------------

transaction::transaction(const options& how)
    : basic_transaction(posix_store(how.target, for_store(how)), for_transaction(how)), limits_(how.limits) {}

transaction::staged transaction::stage(openpgp::message_reader message) {
  return stage([&](directory& room) {
    const unique_fd live = open_live_version(target());
    const archive::extract_options how{.limit = limits_, .share_with = live.get(), .log = settings().log};
    try {
      extracted_ = archive::extract(by_reference(message) | read_ahead{}, room.fd, how);
    } catch (const error& e) {
      // Damage shows in the archive first. Whether it is the vendor's or an attacker's the proof says: it goes first.
      if (is_of_archive(e.code())) message.finish();
      throw;
    }
    return unpacked<proof>{extracted_.root, message.finish()};
  });
}

// ---- Installing -------------------------------------------------------------------------------------------------------

namespace {

class installation {
public:
  installation(const options& how, bool make_live) : how_(how), make_live_(make_live) {
    how_.progress =
        [sink = std::make_shared<progress_sink>(monotone(how.progress))](const progress& p) {  // one, for all copies
          if (*sink) (*sink)(p);
        };
  }

  report from_file(const std::filesystem::path& path) {
    const posix_target_check checked(how_.target);
    package_file file(path);
    const auto keys = load_keys();
    if (!file.is_regular()) return from(file.reader(), keys, 0);
    if (how_.policy.unpack == openpgp::policy::unpack_when::early) return from(file.reader(), keys, file.size());
    const auto proof = openpgp::verify(
        watched(file.reader_for_proof(), phase::verifying, file.size(), how_) | read_ahead{}, keys, how_.policy);
    file.proven();
    return unpack_and_enable([&](transaction& tx) { return stage_proven(tx, file, keys, proof); });
  }

  report from_stream(any_reader package) {
    const posix_target_check checked(how_.target);
    return from(std::move(package), load_keys(), 0);
  }

private:
  /// A target that is missing is said before a package is looked at, and nothing is made in it.
  struct posix_target_check {
    explicit posix_target_check(const std::filesystem::path& target) {
      const std::string path = target_path(target);
      const unique_fd fd(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
      if (!fd) throw target_error(path, errno);
    }
  };

  openpgp::keyring load_keys() const {
    return openpgp::keyring::load(how_.keyring, {.log = how_.log, .passphrase = how_.passphrase});
  }

  report from(any_reader package, const openpgp::keyring& keys, std::uint64_t size) {
    if (how_.policy.unpack == openpgp::policy::unpack_when::after_proof)
      throw error(
          errc::usage,
          {.what = "cannot install from a stream",
           .why = "the policy asks for the proof before anything is unpacked, and a stream can be read only once",
           .remedy = "install from a file, or allow unpack = streams_early"});
    return unpack_and_enable([&](transaction& tx) {
      return tx.stage(
          openpgp::message_reader(watched(std::move(package), phase::unpacking, size, how_), keys, how_.policy));
    });
  }

  /// Where space ran out that did not look tight (or that a quota holds back), how much is needed is found out now.
  template <class Stage>
  auto explaining_lack_of_space(transaction& tx, package_file& file, const openpgp::keyring& keys, Stage&& stage) {
    try {
      return stage();
    } catch (const error& e) {
      if (e.code() == errc::no_space && !need_) need_ = survey(tx, file, keys, false);
      throw;
    }
  }

  transaction::staged stage_proven(transaction& tx, package_file& file, const openpgp::keyring& keys,
                                   const openpgp::verification& proof) {
    check_space(tx, file, keys, proof.content_size());
    auto tree = explaining_lack_of_space(tx, file, keys, [&] {
      return tx.stage(openpgp::message_reader(watched(file.reader_of_proven(), phase::unpacking, file.size(), how_),
                                              keys, how_.policy));
    });
    if (tree.evidence().content_size() != proof.content_size())
      throw error(errc::package_changed,
                  {.what = "cannot use package " + file.path(), .why = "its content changed", .path = file.path()});
    return tree;
  }

  /// What is known beforehand is checked beforehand: where space looks tight, the archive is read once more, and what
  /// it takes for certain must be there. Elsewhere that pass would cost more than it tells.
  void check_space(transaction& tx, package_file& file, const openpgp::keyring& keys, std::uint64_t content) {
    const std::string path = tx.target().path();
    const auto space = space_of(path);
    constexpr std::uint64_t usual_ratio = 10, usual_file = 4096;
    const bool tight = space && (space->bytes / usual_ratio < content ||
                                 (space->counts_inodes && space->inodes < content / usual_file + 1000));
    if (!tight) return;
    need_ = survey(tx, file, keys, space->reflinks);
    if (const auto lacking = shortage(file.path(), path, *space, *need_)) throw error(*lacking);
  }

  archive::surveyed survey(transaction& tx, package_file& file, const openpgp::keyring& keys, bool reflinks) {
    const unique_fd live = open_live_version(tx.target());
    return with_own_needs(archive::survey(openpgp::message_reader(file.reader_of_proven(), keys, how_.policy),
                                          {.limit = how_.limits, .share_with = live.get(), .reflinks = reflinks}));
  }

  template <class Stage>
  report unpack_and_enable(Stage&& stage) {
    report done;
    try {
      transaction tx(how_);
      done.recovered = tx.found();
      auto tree = stage(tx);
      done.unpacked = tx.unpacked_files();
      done.signers = tree.evidence().signers();
      done.encrypted = tree.evidence().encrypted();
      log_signers(done);
      done.version = tx.publish(std::move(tree));
      done.previous = tx.previous();
      done.path = tx.target().path_of(done.version);
      if (make_live_) tx.enable(done.version);
      tx.commit();
    } catch (const error& e) {
      if (e.code() != errc::no_space || e.parts().path == target_path(how_.target)) throw;
      throw without_space(e, target_path(how_.target), need_);
    }
    return done;
  }

  void log_signers(const report& done) const {
    for (const auto& signer : done.signers)
      log(how_.log, log_level::info,
          "signed by " + signer.primary.hex() + (signer.user_id.empty() ? "" : " " + signer.user_id));
    log(how_.log, log_level::info,
        "unpacked " + done.unpacked.root + ": " + std::to_string(done.unpacked.files) + " files, " +
            std::to_string(done.unpacked.shared) + " of them shared, " + mebibytes(done.unpacked.written, rounded::up) +
            " written");
  }

  options how_;
  bool make_live_;
  std::optional<archive::surveyed> need_;  // known where it was looked at
};

}  // namespace

report install(const std::filesystem::path& package, const options& how) {
  return from_named_package(package, [&] { return installation(how, true).from_file(package); });
}
report install(any_reader package, const options& how) {
  return installation(how, true).from_stream(std::move(package));
}
report install_bytes(const std::filesystem::path& package, const options& how) {
  return from_named_package(package, [&] { return installation(how, false).from_file(package); });
}
report install_bytes(any_reader package, const options& how) {
  return installation(how, false).from_stream(std::move(package));
}

// ---- What needs no package --------------------------------------------------------------------------------------------

report enable(const std::filesystem::path& version, const options& how) {
  transaction tx(how);
  report done{.recovered = tx.found()};
  done.version = name_in_target(tx.target(), version);
  done.path = tx.target().path_of(done.version);
  tx.enable(done.version);
  done.previous = tx.previous();
  tx.commit();
  return done;
}

std::vector<std::string> clean(const options& how, std::size_t keep) {
  transaction tx(how);
  return clean(tx.target(), keep, newest_first(tx.target().disk().root().descriptor()));
}

recovery recover(const options& how) {
  const std::string path = target_path(how.target);
  const unique_fd root(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!root) throw target_error(path, errno);
  if (entry_type_at(root.get(), private_name) == entry_type::none) return {};  // never used: nothing can be in flight
  transaction tx(how);
  if (tx.found().what == recovered::unrecoverable)
    throw error(errc::unrecoverable, {.what = "cannot recover " + path,
                                      .why = "version " + tx.found().version + " failed, and none could be restored",
                                      .remedy = "see the log; install a working package",
                                      .path = path});
  return tx.found();
}

}  // namespace fussy::install
