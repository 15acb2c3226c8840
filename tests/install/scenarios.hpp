// What can happen to a target, as stories that run on a simulated disk: how it is before, what is done, and what may be
// live afterwards.
#pragma once

#include "simulated_disk.hpp"

#include <fussy/install/transaction.hpp>

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace simulation {

using namespace fussy::install;
using fussy::errc;
using fussy::error;

// ---- Versions: small trees that know what they must look like -----------------------------------------------------------

inline void fill_tree(simulated_store& s, int where, const std::string& label, bool hooks) {
  const std::string root = label;
  s.make_directory(where, root);
  const int top = s.open(where, root);
  s.write_file(top, "app", "program of " + label);
  s.make_directory(top, "lib");
  s.write_file(s.open(top, "lib"), "data", "data of " + label);
  s.make_link("lib/data", top, "link");
  if (hooks) {
    s.write_file(top, ".pre-install", "pre of " + label);
    s.write_file(top, ".post-install", "post of " + label);
  }
}

inline void tree_text(const disk& d, int inode, const std::string& path, std::string& out) {
  for (const auto& [name, child] : d.at(inode).entries) {
    out += path + name + "=" + d.at(child).content + "\n";
    if (d.at(child).type == entry_type::directory) tree_text(d, child, path + name + "/", out);
  }
}

inline std::string tree_text(const disk& d, int inode) {
  std::string out;
  tree_text(d, inode, "", out);
  return out;
}

// The label of a complete version, by its content alone; empty where it is not complete.
inline std::string complete_version(const disk& d, int inode) {
  const int app = inode == 0 || d.at(inode).type != entry_type::directory ? 0 : d.find(inode, "app");
  if (app == 0 || !d.at(app).content.starts_with("program of ")) return {};
  const std::string label = d.at(app).content.substr(11);
  for (const bool hooks : {false, true}) {
    disk pristine;
    simulated_store s(pristine);
    fill_tree(s, disk::root, label, hooks);
    if (tree_text(pristine, pristine.find(disk::root, label)) == tree_text(d, inode)) return label;
  }
  return {};
}

// ---- The hooks of a story -----------------------------------------------------------------------------------------------

struct hooks {
  std::set<std::string> failing{};   // "v2 .post-install": fails, however often it is run; "... cancelled": is ended
  std::set<std::string> crashing{};  // ... power fails, however often it is run
  std::vector<std::string> begun{};  // "v2 .post-install False"
  std::vector<std::string> done{};   // ... and came to a good end
  bool v2_lived = false;             // `current` named it at some time

  hook_runner on(disk& d) {
    return [this, &d](const hook_call& call, std::stop_token) {
      const std::string name = call.version + " " + call.hook;
      d.tick();
      begun.push_back(name + (call.recovery ? " True" : " False"));
      if (crashing.contains(name)) d.cut_at = d.operations;
      d.tick();
      if (failing.contains(name + " cancelled") && !call.recovery)
        throw error(errc::cancelled, {.what = call.hook + " was told to end"});
      if (failing.contains(name))
        throw error(errc::process_failed, {.what = call.hook + " failed", .output = "last words"});
      done.push_back(begun.back());
    };
  }
};

// ---- Stories ------------------------------------------------------------------------------------------------------------

struct story {
  std::string title;
  std::function<void(simulated_store&)> before;                   // durable when the story begins
  std::function<void(simulated_store, transaction_options)> act;  // what is done; throws what it throws
  std::set<std::string> failing{};                                // hooks that fail, however often they are run
  errc outcome = errc::success;                                   // of an undisturbed run
  std::string live{};                                             // after an undisturbed run; "" is nothing
  std::set<std::string> may_live{};                               // after a cut and recovery
  std::set<std::string> stays{};                                  // versions that must be there whatever happens
  bool given_up = false;                                          // the transaction goes back although nothing failed
  bool can_exchange = true;
};

inline void give(simulated_store& s, const std::string& version, bool with_hooks) {
  fill_tree(s, s.root(), version, with_hooks);
}

inline auto filler(simulated_store& s, const std::string& root, bool with_hooks) {
  return [&s, root, with_hooks](int& where) {
    fill_tree(s, where, root, with_hooks);
    return unpacked<simulated_store::proof>{root, {}};
  };
}

inline std::function<void(simulated_store, transaction_options)> install_story(const std::string& root,
                                                                               bool with_hooks) {
  return [=](simulated_store s, transaction_options o) {
    basic_transaction<simulated_store> tx(s, std::move(o));
    const std::string version = tx.publish(tx.stage(filler(s, root, with_hooks)));
    tx.enable(version);
    tx.commit();
  };
}

inline std::function<void(simulated_store, transaction_options)> enable_story(const std::string& version) {
  return [=](simulated_store s, transaction_options o) {
    basic_transaction<simulated_store> tx(s, std::move(o));
    tx.enable(version);
    tx.commit();
  };
}

inline std::vector<story> all_stories() {
  const auto v1_live = [](bool with_hooks, bool failsafe) {
    return [=](simulated_store& s) {
      give(s, "v1", with_hooks);
      if (failsafe) {
        give(s, "f", with_hooks);
        s.rename(s.root(), "f", s.root(), "failsafe", rename_mode::replace);
      }
      s.make_link("v1", s.root(), "current");
    };
  };
  return {
      {.title = "first install into an empty target",
       .before = [](simulated_store&) {},
       .act = install_story("v2", true),
       .live = "v2",
       .may_live = {"", "v2"}},
      {.title = "first install beside failsafe",
       .before =
           [](simulated_store& s) {
             give(s, "f", true), s.rename(s.root(), "f", s.root(), "failsafe", rename_mode::replace);
           },
       .act = install_story("v2", true),
       .live = "v2",
       .may_live = {"", "v2", "failsafe"},
       .stays = {"failsafe"}},
      {.title = "upgrade without hooks",
       .before = v1_live(false, false),
       .act = install_story("v2", false),
       .live = "v2",
       .may_live = {"v1", "v2"},
       .stays = {"v1"}},
      {.title = "upgrade with hooks",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .live = "v2",
       .may_live = {"v1", "v2"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade to a name that is taken",
       .before = [=](simulated_store& s) { v1_live(true, false)(s), give(s, "v2", true); },
       .act = install_story("v2", true),
       .live = "v2-1",
       .may_live = {"v1", "v2-1"},
       .stays = {"v1", "v2"}},
      {.title = "upgrade whose .pre-install fails",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .pre-install"},
       .outcome = errc::reverted,
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade whose .post-install fails",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .post-install"},
       .outcome = errc::reverted,
       .live = "v1",
       .may_live = {"v1", "v2"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade that is cancelled in its .pre-install",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .pre-install cancelled"},
       .outcome = errc::cancelled,
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade that is cancelled in its .post-install",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .post-install cancelled"},
       .outcome = errc::cancelled,
       .live = "v1",
       .may_live = {"v1", "v2"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade that fails and previous fails, too",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .post-install", "v1 .pre-install", "v1 .post-install"},
       .outcome = errc::reverted,
       .live = "failsafe",
       .may_live = {"v1", "v2", "failsafe"},
       .stays = {"v1", "failsafe"}},
      {.title = "upgrade that fails and everything else fails, too",
       .before = v1_live(true, true),
       .act = install_story("v2", true),
       .failing = {"v2 .post-install", "v1 .post-install", "failsafe .pre-install", "failsafe .post-install"},
       .outcome = errc::unrecoverable,
       .live = "failsafe",
       .may_live = {"v1", "v2", "failsafe"},
       .stays = {"v1", "failsafe"}},
      {.title = "first install that fails with nothing to go back to",
       .before = [](simulated_store&) {},
       .act = install_story("v2", true),
       .failing = {"v2 .post-install"},
       .outcome = errc::unrecoverable,
       .live = "v2",
       .may_live = {"", "v2"}},
      {.title = "a device that was flashed with a directory `current`",
       .before =
           [](simulated_store& s) {
             give(s, "v1", true), s.rename(s.root(), "v1", s.root(), "current", rename_mode::replace);
           },
       .act = install_story("v2", true),
       .live = "v2",
       .may_live = {"v1", "failsafe", "v2"}},
      {.title = "the same on a file system that cannot exchange names",
       .before =
           [](simulated_store& s) {
             give(s, "v1", true), s.rename(s.root(), "v1", s.root(), "current", rename_mode::replace);
           },
       .act = install_story("v2", true),
       .live = "v2",
       .may_live = {"v1", "failsafe", "v2"},
       .can_exchange = false},
      {.title = "a version is published and not enabled",
       .before = v1_live(true, false),
       .act =
           [](simulated_store s, transaction_options o) {
             basic_transaction<simulated_store> tx(s, std::move(o));
             tx.publish(tx.stage(filler(s, "v2", true)));
             tx.commit();
           },
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1"}},
      {.title = "a transaction is given up after it was enabled",
       .before = v1_live(true, false),
       .act =
           [](simulated_store s, transaction_options o) {
             basic_transaction<simulated_store> tx(s, std::move(o));
             tx.enable(tx.publish(tx.stage(filler(s, "v2", true))));
           },
       .live = "v1",
       .may_live = {"v1", "v2"},
       .stays = {"v1"},
       .given_up = true},
      {.title = "a transaction is given up before it was enabled",
       .before = v1_live(true, false),
       .act =
           [](simulated_store s, transaction_options o) {
             basic_transaction<simulated_store> tx(s, std::move(o));
             tx.publish(tx.stage(filler(s, "v2", true)));
           },
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1"}},
      {.title = "an unpacked version is enabled",
       .before = [=](simulated_store& s) { v1_live(true, true)(s), give(s, "v2", true); },
       .act = enable_story("v2"),
       .live = "v2",
       .may_live = {"v1", "v2"},
       .stays = {"v1", "v2", "failsafe"}},
      {.title = "an unpacked version fails to be enabled",
       .before = [=](simulated_store& s) { v1_live(true, true)(s), give(s, "v2", true); },
       .act = enable_story("v2"),
       .failing = {"v2 .pre-install"},
       .outcome = errc::reverted,
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1", "v2", "failsafe"}},
      {.title = "an unpacked version without hooks is enabled",
       .before = [=](simulated_store& s) { v1_live(false, false)(s), give(s, "v2", false); },
       .act = enable_story("v2"),
       .live = "v2",
       .may_live = {"v1", "v2"},
       .stays = {"v1", "v2"}},
      {.title = "old versions are cleaned away",
       .before =
           [=](simulated_store& s) {
             v1_live(true, true)(s), give(s, "v0", true), give(s, "va", false), give(s, "vb", false);
           },
       .act =
           [](simulated_store s, transaction_options o) {
             basic_transaction<simulated_store> tx(s, std::move(o));
             clean(tx.target(), 1, [](std::vector<std::string>& names) { std::sort(names.rbegin(), names.rend()); });
           },
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1", "vb", "failsafe"}},
      {.title = "a damaged journal and no current",
       .before =
           [](simulated_store& s) {
             give(s, "f", true), s.rename(s.root(), "f", s.root(), "failsafe", rename_mode::replace);
             s.make_directory(s.root(), ".fussy");
             s.write_file(s.open(s.root(), ".fussy"), "journal", "fussy-journal 1\nstep sta");
           },
       .act = [](simulated_store s, transaction_options o) { basic_transaction<simulated_store>(s, std::move(o)); },
       .live = "failsafe",
       .may_live = {"", "failsafe"},
       .stays = {"failsafe"}},
      {.title = "a package is refused while it is unpacked",
       .before = v1_live(true, false),
       .act =
           [](simulated_store s, transaction_options o) {
             basic_transaction<simulated_store> tx(s, std::move(o));
             tx.stage([&](int& where) -> unpacked<simulated_store::proof> {
               fill_tree(s, where, "v2", true);
               throw error(errc::bad_signature, "refused");
             });
           },
       .outcome = errc::bad_signature,
       .live = "v1",
       .may_live = {"v1"},
       .stays = {"v1"}},
  };
}

// ---- What must hold -----------------------------------------------------------------------------------------------------

// What `current` names: a version's name, "" for nothing, "!" and why for what may never be.
inline std::string live_version(const disk& d) {
  std::string name = "current";
  for (int hops = 0; hops < 3; ++hops) {
    switch (d.type(disk::root, name)) {
      case entry_type::none:
        return hops == 0 ? "" : "!current dangles to " + name;
      case entry_type::directory: {
        const std::string label = complete_version(d, d.find(disk::root, name));
        if (label.empty()) return "!current names the incomplete " + name;
        return name == "current" ? label : name;
      }
      case entry_type::link:
        name = d.at(d.find(disk::root, name)).content;
        break;
      default:
        return "!current is odd";
    }
  }
  return "!current is a loop";
}

// Nothing half done is left: every visible name is a complete version, nothing in .fussy but an empty staging.
inline std::string litter(const disk& d) {
  for (const auto& [name, inode] : d.at(disk::root).entries) {
    if (name == "current" || name == ".fussy") continue;
    if (complete_version(d, inode).empty()) return "incomplete " + name;
  }
  if (const int ours = d.find(disk::root, ".fussy")) {
    for (const auto& [name, inode] : d.at(ours).entries) {
      if (name == "previous" || name == "failed") continue;
      if (name != "staging") return "left .fussy/" + name;
      if (!d.at(inode).entries.empty()) return "left in staging: " + d.at(inode).entries.begin()->first;
    }
  }
  return {};
}

}  // namespace simulation
