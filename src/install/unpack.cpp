#include <fussy/install.hpp>

#include "package.hpp"

namespace fussy::install {
namespace {

report unpack_message(openpgp::message_reader message, const std::filesystem::path& directory, const options& how) {
  const no_sigxfsz limits_are_errors;
  const unique_fd room = open_file(directory, O_RDONLY | O_DIRECTORY);
  report done;
  const archive::extract_options rules{.limit = how.limits, .log = how.log};
  try {
    done.unpacked = archive::extract(by_reference(message) | read_ahead{}, room, rules);
  } catch (const error& e) {
    // As in an install: whether damage is the vendor's or an attacker's the proof says, and it goes first.
    if (exit_status(e.code()) == 21) message.finish();
    throw;
  }
  const openpgp::verification proof = message.finish();
  done.signers = proof.signers();
  done.encrypted = proof.encrypted();
  done.version = done.unpacked.root;
  done.path = std::filesystem::absolute(directory) / done.version;
  return done;
}

openpgp::keyring load_keys(const options& how) {
  return openpgp::keyring::load(how.keyring, {.log = how.log, .passphrase = how.passphrase});
}

}  // namespace

namespace {

report unpack_file(const std::filesystem::path& package, const std::filesystem::path& directory, const options& how) {
  package_file file(package);
  const openpgp::keyring keys = load_keys(how);
  if (!file.is_regular() || how.policy.unpack == openpgp::policy::unpack_when::early)
    return unpack(file.reader(), directory, how);
  openpgp::verify(watched(file.reader_for_proof(), phase::verifying, file.size(), how), keys, how.policy);
  file.proven();
  return unpack_message(
      openpgp::message_reader(watched(file.reader_of_proven(), phase::unpacking, file.size(), how), keys, how.policy),
      directory, how);
}

}  // namespace

report unpack(const std::filesystem::path& package, const std::filesystem::path& directory, const options& how) {
  return from_named_package(package, [&] { return unpack_file(package, directory, how); });
}

report unpack(any_reader package, const std::filesystem::path& directory, const options& how) {
  return unpack_message(
      openpgp::message_reader(watched(std::move(package), phase::unpacking, 0, how), load_keys(how), how.policy),
      directory, how);
}

}  // namespace fussy::install
