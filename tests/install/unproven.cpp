// Compiled twice: with a proof it must compile, without one it must not.
#include <fussy/install.hpp>

using namespace fussy;

std::string publish(install::transaction& tx, openpgp::message_reader message) {
#if PROVEN
  return tx.publish(tx.stage(std::move(message)));
#else
  return tx.publish(tx.stage([&](install::posix_store::directory& room) {
    return archive::extract(by_reference(message), room.fd).root;  // a tree, and nothing that vouches for it
  }));
#endif
}
