// A disk that forgets. It keeps what programs see apart from what has reached the platter: names (one change of a
// directory after the other), contents of files, texts of links. A power cut may lose any of the changes that were not
// synced, in any combination that a POSIX file system may leave:
//   - changes of directory entries survive or not, each for itself; but one name never jumps back over a newer state
//     of itself that survived, nor does one inode (a rename is one change: both names or none);
//   - an unsynced file whose name survived is empty, cut short, garbage or whole;
//   - a link whose directory was not synced since it was made may be empty.
// Killing a process loses nothing of this, it just stops.
#pragma once

#include <fussy/install/store.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace simulation {

using fussy::install::entry_type;
using fussy::install::rename_mode;

struct power_cut {};  // not a std::exception: nothing that handles errors may catch it

struct node {
  entry_type type = entry_type::none;
  std::map<std::string, int> entries;  // of a directory
  std::string content;                 // of a file or link
};

class disk {
public:
  // One atomic change of directory entries, waiting for its way to the platter.
  struct change {
    struct entry {
      int dir;
      std::string name;
      int inode;  // 0: the name goes
    };
    std::vector<entry> entries;
    std::set<int> inodes;  // that it is about
  };

  disk() {
    now_ = {node{}, node{.type = entry_type::directory, .entries = {}, .content = {}}};
    durable_ = now_;
  }

  static constexpr int root = 1;

  // ---- Control ----------------------------------------------------------------------------------------------------
  long operations = 0;                              // so far
  long cut_at = -1;                                 // power fails instead of this operation
  long fault_at = -1;                               // this operation fails ...
  int fault_errno = EIO;                            // ... with this errno
  std::function<bool(const std::string&)> ignored;  // mutation: calls of these sites do nothing
  std::set<std::string> sites;                      // sites of syncs and journal steps seen

  void tick() {
    if (dead_ || operations == cut_at) {
      dead_ = true;
      throw power_cut{};
    }
    if (operations++ == fault_at) fail(fault_errno, "(injected)");
  }
  bool dead() const { return dead_; }
  // After a kill: the next process sees what was written, synced or not.
  void revive() {
    dead_ = false;
    cut_at = fault_at = -1;
    operations = 0;
  }

  // ---- What a program sees ----------------------------------------------------------------------------------------
  entry_type type(int dir, const std::string& name) const {
    const int inode = find(dir, name);
    return inode == 0 ? entry_type::none : now_[inode].type;
  }
  int find(int dir, const std::string& name) const {
    const auto it = now_[dir].entries.find(name);
    return it == now_[dir].entries.end() ? 0 : it->second;
  }
  const node& at(int inode) const { return now_[inode]; }

  int make(int dir, const std::string& name, entry_type type, std::string content = {}) {
    if (find(dir, name) != 0) fail(EEXIST, name);
    const int inode = static_cast<int>(now_.size());
    now_.push_back({.type = type, .entries = {}, .content = std::move(content)});
    unsynced_.insert(inode);
    apply({{{dir, name, inode}}, {inode}});
    return inode;
  }
  void link(int inode, int dir, const std::string& name) { apply({{{dir, name, inode}}, {inode}}); }
  void remove(int dir, const std::string& name, bool directory) {
    const int inode = find(dir, name);
    if (inode == 0) fail(ENOENT, name);
    if ((now_[inode].type == entry_type::directory) != directory) fail(directory ? ENOTDIR : EISDIR, name);
    if (directory && !now_[inode].entries.empty()) fail(ENOTEMPTY, name);
    apply({{{dir, name, 0}}, {inode}});
  }
  void rename(int from, const std::string& old_name, int to, const std::string& new_name, rename_mode mode) {
    const int inode = find(from, old_name), there = find(to, new_name);
    if (inode == 0) fail(ENOENT, old_name);
    if (mode == rename_mode::exchange) {
      if (!can_exchange) fail(EINVAL, old_name);
      if (there == 0) fail(ENOENT, new_name);
      return apply({{{from, old_name, there}, {to, new_name, inode}}, {inode, there}});
    }
    if (there != 0 && mode == rename_mode::exclusive) fail(EEXIST, new_name);
    if (there != 0 && now_[there].type == entry_type::directory) {
      if (now_[inode].type != entry_type::directory) fail(EISDIR, new_name);
      if (!now_[there].entries.empty()) fail(ENOTEMPTY, new_name);
    } else if (there != 0 && now_[inode].type == entry_type::directory)
      fail(ENOTDIR, new_name);
    change c{{{from, old_name, 0}, {to, new_name, inode}}, {inode}};
    if (there != 0) c.inodes.insert(there);
    apply(std::move(c));
  }
  bool can_exchange = true;

  // ---- What reaches the platter -----------------------------------------------------------------------------------
  void sync_file(int inode) { flush_content(inode); }
  void sync_directory(int dir) {
    for (const auto& [name, inode] : now_[dir].entries)
      if (now_[inode].type == entry_type::link) flush_content(inode);
    std::vector<bool> chosen(pending_.size());
    for (std::size_t i = 0; i < pending_.size(); ++i)
      for (const auto& e : pending_[i].entries) chosen[i] = chosen[i] || e.dir == dir;
    persist(chosen);
  }
  void sync_all() {
    while (!unsynced_.empty()) flush_content(*unsynced_.begin());
    persist(std::vector<bool>(pending_.size(), true));
  }

  std::size_t pending() const { return pending_.size(); }
  // Unsynced things that a cut decides about: changes, and contents that are not on the platter.
  std::size_t open_questions() const { return pending_.size() + unsynced_.size(); }

  // What a cut decides: whether a change of names survives, and what is left of a link's text or a file's content.
  enum class question { change, text, content };
  static constexpr int answers_to(question q) { return q == question::content ? 4 : 2; }

  // The disk after a power cut. `answer` decides about every open question.
  template <class Answers>
  disk after_cut(Answers&& answer) const {
    disk d = *this;
    std::vector<bool> chosen(pending_.size());
    for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = answer(question::change) == 1;
    d.persist(chosen);
    for (const int inode : unsynced_) {
      const std::string& whole = now_[inode].content;
      std::string& left = d.durable_[inode].content;
      const question left_of = now_[inode].type == entry_type::link ? question::text : question::content;
      switch (now_[inode].type == entry_type::directory ? 0 : answer(left_of)) {
        case 0:
          left.clear();
          break;
        case 1:
          left = whole;
          break;
        case 2:
          left = whole.substr(0, whole.size() / 2);
          break;
        default:
          left = std::string(whole.size(), '\0');
      }
    }
    d.now_ = d.durable_;
    d.pending_.clear();
    d.unsynced_.clear();
    d.revive();
    return d;
  }

  // Everything reachable, as text: to count distinct cuts, and to compare.
  std::string image() const {
    std::string out;
    describe(root, "", out);
    return out;
  }

  [[noreturn]] static void fail(int number, const std::string& name) {
    throw fussy::system_error("simulated call", number, name);
  }

private:
  void apply(change c) {
    for (const auto& e : c.entries) {
      if (e.inode == 0)
        now_[e.dir].entries.erase(e.name);
      else
        now_[e.dir].entries[e.name] = e.inode;
    }
    pending_.push_back(std::move(c));
  }

  static bool depends(const change& later, const change& earlier) {
    for (const int inode : later.inodes)
      if (earlier.inodes.contains(inode)) return true;
    for (const auto& a : later.entries)
      for (const auto& b : earlier.entries)
        if (a.dir == b.dir && a.name == b.name) return true;
    return false;
  }

  void persist(std::vector<bool> chosen) {
    for (std::size_t later = pending_.size(); later-- > 0;)
      if (chosen[later])
        for (std::size_t earlier = 0; earlier < later; ++earlier)
          if (!chosen[earlier] && depends(pending_[later], pending_[earlier])) chosen[earlier] = true;
    durable_.resize(now_.size());
    std::vector<change> rest;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      if (!chosen[i]) {
        rest.push_back(std::move(pending_[i]));
        continue;
      }
      for (const int inode : pending_[i].inodes) durable_[inode].type = now_[inode].type;
      for (const auto& e : pending_[i].entries) {
        if (e.inode == 0)
          durable_[e.dir].entries.erase(e.name);
        else
          durable_[e.dir].entries[e.name] = e.inode;
      }
    }
    pending_ = std::move(rest);
  }

  void flush_content(int inode) {
    durable_.resize(now_.size());
    durable_[inode].type = now_[inode].type;
    durable_[inode].content = now_[inode].content;
    unsynced_.erase(inode);
  }

  void describe(int inode, const std::string& path, std::string& out) const {
    for (const auto& [name, child] : now_[inode].entries) {
      const std::string below = path + "/" + name;
      out += below + " " + std::to_string(static_cast<int>(now_[child].type)) + " " + now_[child].content + "\n";
      if (now_[child].type == entry_type::directory) describe(child, below, out);
    }
  }

  std::vector<node> now_, durable_;  // by inode
  std::vector<change> pending_;
  std::set<int> unsynced_;  // inodes whose content is not durable
  bool dead_ = false;
};

// The store on such a disk. `where` is the place in the code under test, for mutations.
class simulated_store {
public:
  using directory = int;
  struct proof {};
  // As std::source_location, which the library of GCC 12 does not have with Clang 14.
  struct place {
    const char* file;
    unsigned line;
    std::string_view function;
    static constexpr place current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE(),
                                   const char* function = __builtin_FUNCTION()) {
      return {file, line, function};
    }
  };

  explicit simulated_store(disk& d) : disk_(&d) {}

  directory& root() { return root_; }
  std::string path() const { return "/target"; }
  entry_type type(int d, const std::string& name) { return read(), disk_->type(d, name); }
  std::vector<std::string> list(int d, place where = place::current()) {
    read();
    std::vector<std::string> names;
    // A sweep that sees nothing is one that is not there. Whether it comes early is a question of time alone.
    const int ours = disk_->find(disk::root, ".fussy");
    const bool sweeps = ours != 0 && d == disk_->find(ours, "staging") && where.function != "holds_unpacking_only";
    if (sweeps && skip(site("list", where))) return names;
    for (const auto& [name, inode] : disk_->at(d).entries) names.push_back(name);
    return names;
  }
  int open(int d, const std::string& name) {
    read();
    const int inode = disk_->find(d, name);
    if (inode == 0) disk::fail(ENOENT, name);
    if (disk_->at(inode).type != entry_type::directory) disk::fail(ENOTDIR, name);
    return inode;
  }
  std::string read_link(int d, const std::string& name) { return read(), content(d, name); }
  std::string read_file(int d, const std::string& name, std::size_t max) {
    return read(), content(d, name).substr(0, max);
  }
  std::optional<std::string> version_behind(const std::string& name) {
    read();
    std::string at = name;
    for (int hops = 0; hops < 8; ++hops) {
      const entry_type t = disk_->type(disk::root, at);
      if (t == entry_type::directory) return at;
      if (t != entry_type::link) return std::nullopt;
      at = content(disk::root, at);
    }
    return std::nullopt;
  }
  bool leads_somewhere(const std::string& name) { return version_behind(name).has_value(); }

  void make_directory(int d, const std::string& name) { write(), disk_->make(d, name, entry_type::directory); }
  void make_link(std::string_view text, int d, const std::string& name) {
    write(), disk_->make(d, name, entry_type::link, std::string(text));
  }
  void write_file(int d, const std::string& name, std::string_view text) {
    write(), disk_->make(d, name, entry_type::file, std::string(text));
  }
  void rename(int from, const std::string& old_name, int to, const std::string& new_name, rename_mode mode) {
    write();
    if (new_name == "journal") {
      const std::string step = content(from, old_name);
      const std::string site = step.substr(step.find("step "), step.find("\nversion") - step.find("step "));
      if (skip("journal " + site)) return disk_->remove(from, old_name, false);
    }
    disk_->rename(from, old_name, to, new_name, mode);
  }
  void remove_file(int d, const std::string& name) { write(), disk_->remove(d, name, false); }
  void remove_directory(int d, const std::string& name) { write(), disk_->remove(d, name, true); }
  void make_accessible(int, const std::string&) {}
  void sync_file(int d, const std::string& name, place where = place::current()) {
    write();
    if (!skip(site("sync_file", where))) disk_->sync_file(disk_->find(d, name));
  }
  void sync_directory(int d, place where = place::current()) {
    write();
    if (!skip(site("sync_directory", where))) disk_->sync_directory(d);
  }
  void sync_all(place where = place::current()) {
    write();
    if (!skip(site("sync_all", where))) disk_->sync_all();
  }

private:
  static std::string site(const char* call, const place& where) {
    const std::string file = where.file;
    return std::string(call) + " in " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
  }
  bool skip(const std::string& s) {
    disk_->sites.insert(s);
    return disk_->ignored && disk_->ignored(s);
  }
  std::string content(int d, const std::string& name) {
    const int inode = disk_->find(d, name);
    if (inode == 0) disk::fail(ENOENT, name);
    return disk_->at(inode).content;
  }
  // A cut before a read is the cut before the write that follows it: only faults count reads.
  void read() {
    if (count_reads) disk_->tick();
  }
  void write() { disk_->tick(); }

  disk* disk_;
  int root_ = disk::root;

public:
  bool count_reads = false;
};

}  // namespace simulation
