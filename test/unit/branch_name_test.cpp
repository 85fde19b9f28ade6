#include "core/branch/name.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace pgbraid::core::branch {
namespace {

TEST(BranchName, OfADatabaseIsReadable)
{
	EXPECT_EQ(database_name("shop", Kind::branch, "main"), "shop@main");
	EXPECT_EQ(database_name("shop", Kind::branch, "Fix_1.2-b"), "shop@Fix_1.2-b");
	EXPECT_EQ(database_name("shop", Kind::snapshot, "main"), "shop@main@snapshot");
	EXPECT_EQ(database_name("shop", Kind::spare, "main", 2), "shop@main@spare2");
}

TEST(BranchName, ThatIsChangedHasAHash)
{
	EXPECT_EQ(database_name("shop", Kind::branch, "feature/x"), "shop@feature_x~b8ac9a7ac6a284fa");
	const std::string odd = database_name("shop", Kind::snapshot, "a'b\"c=d ~%\xc3\xa9");
	EXPECT_EQ(odd.substr(0, 17), "shop@a_b_c_d_____");
	EXPECT_EQ(odd.substr(odd.size() - 9), "@snapshot");
}

TEST(BranchName, OfDifferentThingsDiffer)
{
	std::set<std::string> found;
	std::size_t asked = 0;
	const std::vector<std::string> families{"shop", "shop@a", "shop@", "a", std::string(63, 'f')};
	const std::vector<std::string> names{"a-b",
										 "a/b",
										 "a.b",
										 "a_b",
										 "a b",
										 "a@b",
										 "a",
										 "A",
										 "@a",
										 "snapshot",
										 "x@snapshot",
										 "a_b~0123456789abcdef",
										 std::string(200, 'n'),
										 std::string(199, 'n') + "m"};
	for (const std::string &family : families)
		for (const Kind kind : {Kind::branch, Kind::snapshot, Kind::spare, Kind::trash})
			for (const std::string &name : names)
				for (const std::uint32_t number : {0U, 1U, 4294967295U}) {
					const std::string database = database_name(family, kind, name, number);
					EXPECT_LE(database.size(), longest_database_name);
					EXPECT_TRUE(found.insert(database).second) << database;
					asked++;
				}
	EXPECT_EQ(found.size(), asked);
}

TEST(BranchName, ThatIsCutKeepsCharactersWhole)
{
	std::string family;
	for (int i = 0; i < 30; i++)
		family += "\xc3\xa9";
	const std::string database = database_name(family, Kind::branch, "n");
	EXPECT_LE(database.size(), longest_database_name);
	const std::size_t at = database.find('@');
	EXPECT_EQ(at % 2, 0U) << database;
}

TEST(BranchName, OfManyKindsNeverCollidesNorOutgrows)
{
	std::mt19937 random{1};
	std::set<std::string> databases, names;
	for (int i = 0; i < 20'000; i++) {
		std::string name(1 + random() % 40, ' ');
		for (char &c : name)
			c = "ab-/._~@"[random() % 8];
		const std::string database = database_name("shop", Kind::branch, name);
		EXPECT_LE(database.size(), longest_database_name);
		names.insert(name);
		databases.insert(database);
	}
	EXPECT_EQ(databases.size(), names.size());
}

TEST(BranchName, IsChecked)
{
	EXPECT_TRUE(checked_name("a").ok());
	EXPECT_TRUE(checked_name("feature/\xc3\xa9 x'\"%").ok());
	EXPECT_TRUE(checked_name(std::string(200, 'x')).ok());
	for (const char *bad : {"", "a\n", "\x7f", " a", "a "})
		EXPECT_EQ(checked_name(bad).error().sqlstate, std::string{"42602"}) << bad;
	EXPECT_FALSE(checked_name(std::string(201, 'x')).ok());
}

} // namespace

TEST(BranchName, KindsAreFoundByTheirNames)
{
	for (Kind kind : {Kind::branch, Kind::snapshot, Kind::spare, Kind::trash})
		EXPECT_EQ(kind_named(name_of(kind)), kind);
	EXPECT_EQ(kind_named(""), std::nullopt);
	EXPECT_EQ(kind_named("branches"), std::nullopt);
}

} // namespace pgbraid::core::branch
