// Packing and signing; in a build without, the functions are there and say so.
#include "session.hpp"

using namespace fussy;
using namespace fussy::capi;

#ifdef FUSSY_WITH_PACK

#include <fussy/pack.hpp>

namespace {

pack::signing signing_of(const fussy_session& s, const install::options& how) {
  pack::signing proof;
  proof.keyring = how.keyring;
  proof.how.signers = s.packing.signers;
  proof.how.recipients = s.packing.recipients;
  proof.how.armor = s.packing.armor;
  proof.passphrase = how.passphrase;
  return proof;
}

codec::format format_of(int32_t compression) noexcept {
  switch (compression) {
    case FUSSY_COMPRESSION_BZIP2:
      return codec::format::bzip2;
    case FUSSY_COMPRESSION_ZSTD:
      return codec::format::zstd;
    default:
      return codec::format::gzip;
  }
}

}  // namespace

int32_t fussy_session_pack(fussy_session* session, const char* root, const char* into, int32_t sign) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (root == nullptr || *root == '\0') refuse("fussy_session_pack", "there is no directory", "pass the one to pack");
    if (sign != 0 && sign != 1) refuse("fussy_session_pack", "`sign` is neither 0 nor 1", "pass 1 to sign");
    pack::options options;
    options.exclude = s.packing.exclude;
    options.name = s.packing.name;
    if (into != nullptr) options.directory = into;
    options.compression = format_of(s.packing.compression);
    options.level = s.packing.level;
    options.sign = sign == 1;
    options.proof = signing_of(s, how);
    options.log = how.log;
    options.progress = how.progress;
    options.stop = how.stop;
    copy_text(s.report.path, pack::pack(root, options).native());
  });
}

int32_t fussy_session_sign(fussy_session* session, const char* archive) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (archive == nullptr || *archive == '\0')
      refuse("fussy_session_sign", "there is no archive", "pass one that was packed");
    copy_text(s.report.path,
              pack::sign(archive, signing_of(s, how), {.progress = how.progress, .stop = how.stop}).native());
  });
}

#else

namespace {

int32_t refuse_to_pack(fussy_session* session) noexcept {
  return operate(session, [](fussy_session&, const install::options&) {
    throw error(errc::unsupported, {.what = "cannot pack",
                                    .why = "this library was built without packing",
                                    .remedy = "pack on another machine, or build with -Dpack=true"});
  });
}

}  // namespace

int32_t fussy_session_pack(fussy_session* session, const char*, const char*, int32_t) {
  return refuse_to_pack(session);
}

int32_t fussy_session_sign(fussy_session* session, const char*) { return refuse_to_pack(session); }

#endif
