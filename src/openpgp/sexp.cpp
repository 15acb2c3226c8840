#include "sexp.hpp"

namespace fussy::openpgp {
namespace {

constexpr unsigned max_depth = 16;

[[noreturn]] void damaged(const char* why) {
  throw error(errc::bad_message, {.what = "cannot read a private key of gpg-agent",
                                  .why = why,
                                  .remedy = "export the key with gpg and import it again"});
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class parser {
public:
  explicit parser(std::string_view text) : rest_(text) {}

  sexp expression(unsigned depth = 0) {
    skip_blanks();
    if (depth > max_depth) damaged("it is nested too deeply");
    if (peek() != '(') return atom();
    take();
    sexp list;
    list.is_list = true;
    for (skip_blanks(); peek() != ')'; skip_blanks()) list.items.push_back(expression(depth + 1));
    take();
    return list;
  }

private:
  char peek() const {
    if (rest_.empty()) damaged("it ends too early");
    return rest_.front();
  }
  char take() {
    const char c = peek();
    rest_.remove_prefix(1);
    return c;
  }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }

  sexp atom() {
    sexp a;
    const char c = peek();
    if (c == '#')
      a.atom = hexadecimal();
    else if (c == '"')
      a.atom = quoted();
    else if (is_digit(c))
      a.atom = verbatim();
    else
      a.atom = token();
    return a;
  }

  /// `LENGTH:` and so many octets.
  secret_vector verbatim() {
    std::size_t size = 0;
    while (is_digit(peek())) {
      size = size * 10 + static_cast<std::size_t>(take() - '0');
      if (size > rest_.size()) damaged("an item is longer than the file");
    }
    if (take() != ':') damaged("a length is not followed by a colon");
    if (size > rest_.size()) damaged("an item is longer than the file");
    const std::string_view octets = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return to_secret(as_bytes(octets));
  }

  secret_vector hexadecimal() {
    secret_vector octets;
    int high = -1;
    take();
    for (char c = take(); c != '#'; c = take()) {
      if (is_blank(c)) continue;
      const int digit = hex_digit(c);
      if (digit < 0) damaged("there is something else in a hexadecimal item");
      if (high < 0) {
        high = digit;
      } else {
        octets.push_back(static_cast<std::byte>(high << 4 | digit));
        high = -1;
      }
    }
    if (high >= 0) damaged("a hexadecimal item has half an octet");
    return octets;
  }

  secret_vector quoted() {
    secret_vector octets;
    take();
    for (char c = take(); c != '"'; c = take()) {
      if (c == '\\')
        escaped(octets);
      else
        octets.push_back(static_cast<std::byte>(c));
    }
    return octets;
  }

  void escaped(secret_vector& octets) {
    static constexpr std::string_view letters = "btvnfr\"'\\", values = "\b\t\v\n\f\r\"'\\";
    const char c = take();
    if (const auto at = letters.find(c); at != letters.npos) {
      octets.push_back(static_cast<std::byte>(values[at]));
    } else if (c == 'x') {
      const int high = hex_digit(take()), low = hex_digit(take());
      if (high < 0 || low < 0) damaged("an escape in a quoted item is not known");
      octets.push_back(static_cast<std::byte>(high << 4 | low));
    } else if (c >= '0' && c <= '7') {
      int value = c - '0';
      for (int i = 0; i < 2; ++i) {
        const char digit = take();
        if (digit < '0' || digit > '7') damaged("an escape in a quoted item is not known");
        value = value * 8 + (digit - '0');
      }
      octets.push_back(static_cast<std::byte>(value & 0xff));
    } else if (c == '\r' || c == '\n') {  // a line that goes on
      if (!rest_.empty() && rest_.front() != c && (rest_.front() == '\r' || rest_.front() == '\n')) take();
    } else {
      damaged("an escape in a quoted item is not known");
    }
  }

  secret_vector token() {
    std::size_t size = 0;
    while (size < rest_.size() && !is_blank(rest_[size]) &&
           std::string_view("()\"#").find(rest_[size]) == std::string_view::npos)
      ++size;
    if (size == 0) damaged("there is something that is no item");
    const std::string_view octets = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return to_secret(as_bytes(octets));
  }

  std::string_view rest_;
};

void put_canonical(secret_vector& out, const sexp& e) {
  if (e.is_list) {
    put(out, as_bytes("("));
    for (const sexp& item : e.items) put_canonical(out, item);
    put(out, as_bytes(")"));
  } else {
    put(out, as_bytes(std::to_string(e.atom.size()) + ":"));
    put(out, e.atom);
  }
}

}  // namespace

std::string_view sexp::head() const noexcept {
  return is_list && !items.empty() && !items[0].is_list ? as_text(items[0].atom) : std::string_view{};
}

const sexp* sexp::find(std::string_view wanted) const noexcept {
  for (const sexp& item : items)
    if (item.is_list && item.head() == wanted) return &item;
  return nullptr;
}

byte_view sexp::value(std::string_view wanted) const noexcept {
  const sexp* item = find(wanted);
  return item != nullptr && item->items.size() >= 2 && !item->items[1].is_list ? byte_view(item->items[1].atom)
                                                                               : byte_view{};
}

const sexp& sexp::at(std::size_t i) const {
  if (!is_list || i >= items.size()) damaged("something is missing in it");
  return items[i];
}

sexp parse_sexp(byte_view text) { return parser(as_text(text)).expression(); }

secret_vector canonical(const sexp& expression) {
  secret_vector out;
  put_canonical(out, expression);
  return out;
}

}  // namespace fussy::openpgp
