/// @file nbio/line.hpp  Lines: how a stream is cut into them.
/// Threads: values.
/// Errors:  none.
#pragma once

#include <fussy/nbio/result.hpp>

#include <algorithm>
#include <cstring>

namespace fussy::nbio {

/// As a stage: what follows in our process sees single lines (`P("ls -l") | by_line() | callable`), without their
/// separator; empty lines are lines; a last line without a separator is delivered too. The separators stay in the
/// stream: what flows on, to a process or into the result, has them still, also behind a map() of the lines.
struct by_line {
  bool keep_newline = false;  ///< show the separator as well; a map() then has to return it
  char sep = '\n';
  std::size_t max = 1 << 20;  ///< octets; a longer line is delivered in pieces of this size
};

namespace detail {

/// Calls f(line, whole) for each line of `region`; `whole`: a separator stands behind it in the region.
template <class F>
void each_line(view region, const by_line& how, F&& f) {
  const char* at = region.data();
  const char* const end = at + region.size();
  // Copies: what f changes could otherwise be `how`, and everything would be loaded again for each line.
  const std::size_t shown = how.keep_newline ? 1 : 0, max = std::max<std::size_t>(how.max, 1);
  const char sep = how.sep;
  while (at != end) {
    const char* stop = static_cast<const char*>(std::memchr(at, sep, static_cast<std::size_t>(end - at)));
    const char* const text_end = stop ? stop : end;
    while (static_cast<std::size_t>(text_end - at) > max) {
      f(view(at, max), false);
      at += max;
    }
    if (!stop) {
      if (at != end) f(view(at, static_cast<std::size_t>(end - at)), false);
      return;
    }
    f(view(at, static_cast<std::size_t>(stop - at) + shown), true);
    at = stop + 1;
  }
}

/// Cuts a stream at line ends: gives regions that hold only whole lines, or a piece of a line longer than the maximum,
/// or the end of a stream that lacks the last separator. Copies only lines that two chunks share.
class line_cutter {
public:
  explicit line_cutter(by_line how) : how_(how) { how_.max = std::max<std::size_t>(how_.max, 1); }

  void feed(view chunk) noexcept { rest_ = chunk; }
  /// The next region out of what was fed; false: feed more. Valid until the next call.
  bool next(view& region) {
    if (given_) carry_.clear(), given_ = false;
    if (rest_.empty()) return false;
    return carry_.empty() ? whole_lines(region) : complete_carry(region);
  }
  /// After the last chunk: what is left, if anything.
  bool last(view& region) noexcept {
    if (given_ || carry_.empty()) return false;
    given_ = true;
    region = carry_;
    return true;
  }

private:
  bool whole_lines(view& region) {
    const void* last_sep = ::memrchr(rest_.data(), how_.sep, rest_.size());
    if (!last_sep) {
      carry_.clear();
      return complete_carry(region);
    }
    const std::size_t size = static_cast<std::size_t>(static_cast<const char*>(last_sep) - rest_.data()) + 1;
    region = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool complete_carry(view& region) {
    const std::size_t room = how_.max - std::min(how_.max, carry_.size());
    const std::size_t stop = rest_.find(how_.sep);
    if (stop != view::npos && stop <= room) return give_carry(region, stop + 1);
    if (rest_.size() <= room) {
      carry_.append(rest_);
      rest_ = {};
      return false;
    }
    return give_carry(region, room);  // too long: a piece
  }
  bool give_carry(view& region, std::size_t take) {
    carry_.append(rest_.substr(0, take));
    rest_.remove_prefix(take);
    region = carry_;
    given_ = true;
    return true;
  }

  by_line how_;
  std::string carry_;  // the start of a line whose end has not come yet
  view rest_;
  bool given_ = false;
};

}  // namespace detail
}  // namespace fussy::nbio
