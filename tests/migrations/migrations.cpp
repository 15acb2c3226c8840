// migrations: what has to be undone before an older version is installed.
#include <doctest/doctest.h>
#include <fussy/migrations.hpp>

#include <fstream>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using namespace fussy::migrations;
using test::code_of;
using test::message_of;
namespace fs = std::filesystem;
using names = std::vector<std::string>;

namespace {

/// A target with a current version and one that is about to be installed.
struct two_versions : test::temporary_directory {
  two_versions(const names& current, const names& next) {
    for (const auto& n : current) write(path() / "v2" / "app" / "migrations" / n);
    for (const auto& n : next) write(path() / "v1" / "app" / "migrations" / n);
    fs::create_directories(path() / "v1");
    fs::create_directories(path() / "v2");
    fs::create_symlink("v2", path() / "current");
  }
  static void write(const fs::path& file) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "# migration\n";
  }
  fs::path next() const { return path() / "v1"; }
};

const fs::path relative = "app/migrations";

std::optional<std::string> reverse(const names& current, const names& next) {
  const two_versions t(current, next);
  return find_reverse_upgrades(t.next(), relative);
}

}  // namespace

TEST_SUITE_BEGIN("migrations");

TEST_CASE("nothing has to be undone when the new version has all migrations of the current one") {
  CHECK_FALSE(reverse({"0001_a.py", "0002_b.py"}, {"0001_a.py", "0002_b.py"}));
  CHECK_FALSE(reverse({"0001_a.py"}, {"0001_a.py", "0002_b.py"}));
}

TEST_CASE("nothing has to be undone when the current version has no migrations, or there is none") {
  CHECK_FALSE(reverse({}, {"0001_a.py"}));
  CHECK_FALSE(reverse({}, {}));
  const two_versions t({"0001_a.py"}, {"0001_a.py"});
  fs::remove(t / "current");
  CHECK_FALSE(find_reverse_upgrades(t.next(), relative));
}

TEST_CASE("the answer is the last common migration without its suffix") {
  CHECK(reverse({"0001_a.py", "0002_b.py", "0003_c.py"}, {"0001_a.py"}) == "0001_a");
  CHECK(reverse({"0001_a.py", "0002_b.py", "0003_c.py"}, {"0001_a.py", "0002_b.py"}) == "0002_b");
  CHECK(reverse({"0001_a.py", "0002_b.py"}, {"0001_a.py", "0002_other.py"}) == "0001_a");
  CHECK(reverse({"0001_a.b.py", "0002_b.py"}, {"0001_a.b.py"}) == "0001_a.b");
}

TEST_CASE("no migration in common is an error") {
  const two_versions t({"0001_a.py"}, {"0001_b.py"});
  CHECK(code_of([&] { find_reverse_upgrades(t.next(), relative); }) == errc::not_found);
  CHECK(message_of([&] { find_reverse_upgrades(t.next(), relative); }).find("has to be asked for") !=
        std::string::npos);
  const two_versions none({"0001_a.py"}, {});
  CHECK(code_of([&] { find_reverse_upgrades(none.next(), relative); }) == errc::not_found);
}

TEST_CASE("only files that match the pattern are migrations") {
  CHECK_FALSE(reverse({"0001_a.py", "__init__.py", "0002_b.pyc", "01_x.py", "README"}, {"0001_a.py"}));
  CHECK_FALSE(reverse({"0001_a.py", ".001_a.py"}, {"0001_a.py"}));
  const two_versions t({"V1__a.sql", "V2__b.sql"}, {"V1__a.sql"});
  CHECK_FALSE(find_reverse_upgrades(t.next(), relative));
  CHECK(find_reverse_upgrades(t.next(), relative, "V*__*.sql") == "V1__a");
}

TEST_CASE("where the versions part and meet again, the position decides; what stays applied is told") {
  const two_versions t({"0001_a.py", "0002_b.py", "0003_c.py", "0004_d.py"}, {"0001_a.py", "0002_x.py", "0003_c.py"});
  CHECK(find_reverse_upgrades(t.next(), relative) == "0003_c");
  const auto step = find_rollback(t.next(), {"app", relative});
  REQUIRE(step);
  CHECK(step->migration == "0003_c");
  CHECK(step->undone == names{"0004_d.py"});
  CHECK(step->kept == names{"0002_b.py"});
}

TEST_CASE("where the versions part and meet again, the prefix rule undoes all from the first difference on") {
  const two_versions t({"0001_a.py", "0002_b.py", "0003_c.py", "0004_d.py"}, {"0001_a.py", "0002_x.py", "0003_c.py"});
  const auto step = find_rollback(t.next(), {"app", relative}, {.rule = common_rule::prefix});
  REQUIRE(step);
  CHECK(step->migration == "0001_a");
  CHECK(step->undone == names{"0002_b.py", "0003_c.py", "0004_d.py"});
  CHECK(step->kept.empty());
}

TEST_CASE("a common migration at another position is not common, by either rule") {
  const two_versions t({"0001_a.py", "0002_b.py", "0003_c.py"}, {"0001_a.py", "0003_c.py"});
  for (const common_rule rule : {common_rule::same_position, common_rule::prefix}) {
    const auto step = find_rollback(t.next(), {"app", relative}, {.rule = rule});
    REQUIRE(step);
    CHECK(step->migration == "0001_a");
    CHECK(step->undone == names{"0002_b.py", "0003_c.py"});
    CHECK(step->kept.empty());
  }
}

TEST_CASE("when only the first migrations differ, one rule finds a common one and the other none") {
  const two_versions t({"0001_a.py", "0002_b.py"}, {"0001_x.py", "0002_b.py"});
  CHECK(find_reverse_upgrades(t.next(), relative) == "0002_b");
  const find_options prefix{.rule = common_rule::prefix};
  CHECK(code_of([&] { find_rollback(t.next(), {"app", relative}, prefix); }) == errc::not_found);
}

TEST_CASE("undoing all has to be asked for") {
  const two_versions t({"0001_a.py"}, {});
  CHECK(code_of([&] { find_rollback(t.next(), {"app", relative}); }) == errc::not_found);
  const auto step = find_rollback(t.next(), {"app", relative}, {.allow_zero = true});
  REQUIRE(step);
  CHECK(step->migration.empty());
}

TEST_CASE("of several applications none is rolled back when one cannot be") {
  const two_versions t({"0001_a.py", "0002_b.py"}, {"0001_a.py"});
  two_versions::write(t / "v2" / "shop" / "0001_s.py");
  CHECK(code_of([&] { find_rollbacks(t.next(), {{"app", relative}, {"shop", "shop"}}); }) == errc::not_found);
  two_versions::write(t / "v1" / "shop" / "0001_s.py");
  const auto steps = find_rollbacks(t.next(), {{"shop", "shop"}, {"app", relative}});
  REQUIRE(steps.size() == 1);
  CHECK(steps[0].application == "app");
}

TEST_CASE("migrations that cannot be read are an error, not an empty list") {
  if (::geteuid() == 0) {
    test::child stranger([](int) {
      const two_versions t({"0001_a.py"}, {"0001_a.py"});
      ::chmod((t / "v1" / "app" / "migrations").c_str(), 0);
      ::chmod(t.path().c_str(), 0755);
      if (::setuid(65534) != 0) return 1;
      return code_of([&] { find_reverse_upgrades(t.next(), relative); }) == errc::io ? 0 : 2;
    });
    CHECK(stranger.wait() == 0);
  }
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("migrations: tools");

TEST_CASE("a tool gets application and migration, and its output is returned") {
  const rollback step{.application = "shop", .migration = "0002_price"};
  CHECK(roll_back(step, django("echo")) == "migrate --noinput shop 0002_price\n");
  CHECK(roll_back({.application = "shop", .migration = {}}, django("echo")) == "migrate --noinput shop zero\n");
  CHECK(roll_back(step, shell_command("echo {app}/{name}/{id}")) == "shop/0002_price/0002\n");
  CHECK(roll_back({.application = "a", .migration = {}}, shell_command("echo {id}", "base")) == "base\n");
}

TEST_CASE("a manage.py that may not be executed is run by python") {
  test::temporary_directory dir;
  std::ofstream(dir / "manage.py") << "import sys; print(sys.argv[1:])\n";
  const rollback step{.application = "shop", .migration = "0002_price"};
  CHECK(roll_back(step, django((dir / "manage.py").string())) == "['migrate', '--noinput', 'shop', '0002_price']\n");
  std::ofstream(dir / "manage.py") << "#!/bin/sh\necho executed\n";
  ::chmod((dir / "manage.py").c_str(), 0755);
  CHECK(roll_back(step, django((dir / "manage.py").string())) == "executed\n");
}

TEST_CASE("braces that are the shell's own stay") {
  const rollback step{.application = "shop", .migration = "0002_price"};
  CHECK(roll_back(step, shell_command("{ X={name}; echo ${X}{,}; }; echo {} {A} ${name}x")) ==
        "0002_price{,}\n{} {A} x\n");
}

TEST_CASE("an unknown name in braces is refused before anything runs") {
  CHECK(code_of([] { shell_command("alembic downgrade {revision}"); }) == errc::usage);
}

TEST_CASE("attack: a migration whose name is shell code stays one word") {
  test::temporary_directory dir;
  const std::string name = "0001_x'; touch " + (dir / "evil").string() + "; echo '$(id)`id`";
  const rollback step{.application = "a b", .migration = name};
  CHECK(roll_back(step, shell_command("printf '%s\\n' {name} {app}")) == name + "\na b\n");
  CHECK_FALSE(fs::exists(dir / "evil"));
}

TEST_CASE("a tool that fails or is missing is an error with its output") {
  const rollback step{.application = "shop", .migration = "0002_price"};
  try {
    roll_back(step, shell_command("echo partial; exit 3"));
    FAIL("the tool failed");
  } catch (const nbio::pipe_error& e) {
    CHECK(e.code() == errc::process_failed);
    CHECK(e.result.out == "partial\n");
  }
  CHECK(code_of([&] { roll_back(step, django("/nonexistent/django-admin")); }) == errc::spawn_failed);
}

TEST_SUITE_END();
