/// @file sexp.hpp  S-expressions as gpg-agent stores keys in: canonical, and the advanced form it writes today.
/// Threads: values.
/// Errors:  bad_message.
#pragma once

#include <string_view>
#include <vector>

#include "wire.hpp"

namespace fussy::openpgp {

/// An atom or a list.
struct sexp {
  bool is_list = false;
  secret_vector atom;
  std::vector<sexp> items;

  /// The first item of a list, when it is an atom; else empty.
  std::string_view head() const noexcept;
  bool is(std::string_view text) const noexcept { return !is_list && as_text(atom) == text; }
  /// The item that is a list with this head, or null.
  const sexp* find(std::string_view head) const noexcept;
  /// The octets of `(head VALUE)` among the items; empty when there is none.
  byte_view value(std::string_view head) const noexcept;
  /// Item `i` of a list. @throws bad_message
  const sexp& at(std::size_t i) const;
};

/// The first expression of a text; what follows it is ignored. At most 16 levels deep.
sexp parse_sexp(byte_view text);
/// Canonical form, which is what gets hashed.
secret_vector canonical(const sexp& expression);

}  // namespace fussy::openpgp
