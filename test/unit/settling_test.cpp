#include "core/flow/settling.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

TEST(Settling, GivesWhatIsOldEnough)
{
	Settling settling;
	EXPECT_TRUE(settling.empty());
	settling.note(10, {100, 1, {90, 1}});
	settling.note(20, {200, 2, {190, 1}});
	settling.note(30, {300, 3, {290, 1}});
	EXPECT_FALSE(settling.take_settled(19, 10));
	auto settled = settling.take_settled(30, 10);
	ASSERT_TRUE(settled);
	EXPECT_EQ(settled->lsn, 200u);
	EXPECT_EQ(settled->sequence, 2u);
	EXPECT_EQ(settled->position, (Position{190, 1}));
	EXPECT_FALSE(settling.take_settled(39, 10)) << "each once";
	EXPECT_EQ(settling.take_settled(40, 10)->lsn, 300u);
	EXPECT_TRUE(settling.empty());
}

TEST(Settling, DropsWhatTellsNothingNew)
{
	Settling settling;
	settling.note(10, {100, 1, {}});
	settling.note(20, {100, 1, {}});
	settling.note(30, {90, 1, {}});
	EXPECT_EQ(settling.take_settled(20, 10)->lsn, 100u);
	EXPECT_TRUE(settling.empty());
	settling.note(40, {100, 1, {}});
	EXPECT_TRUE(settling.empty());
}

TEST(Settling, HoldsBackWhatIsStillNeeded)
{
	Settling settling;
	settling.note(10, {100, 1, {}});
	settling.note(20, {200, 2, {}});
	EXPECT_EQ(settling.take_settled(50, 10, 150)->lsn, 100u);
	EXPECT_FALSE(settling.take_settled(50, 10, 150));
	EXPECT_EQ(settling.take_settled(50, 10)->lsn, 200u);
}

TEST(Settling, WithoutAHorizonSettlesAtOnce)
{
	Settling settling;
	settling.note(10, {100, 1, {}});
	EXPECT_EQ(settling.take_settled(10, 0)->lsn, 100u);
}

} // namespace
} // namespace pgbraid::core
