#include "core/flow/cutoff.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

TEST(Cutoff, IncludesWhatHadEnded)
{
	Cutoff cutoff(100, 110, {107, 100, 105});
	for (FullXid xid = 90; xid < 120; xid++)
		EXPECT_EQ(cutoff.includes(xid), xid < 110 && xid != 100 && xid != 105 && xid != 107) << xid;
}

TEST(Cutoff, HasTheTextFormOfPgSnapshot)
{
	EXPECT_EQ(Cutoff(100, 110, {107, 100}).text(), "100:110:100,107");
	EXPECT_EQ(Cutoff(5, 5, {}).text(), "5:5:");
	for (const char *text : {"100:110:100,107", "5:5:", "4294967296:4294967300:4294967297"}) {
		auto cutoff = Cutoff::parse(text);
		ASSERT_TRUE(cutoff) << text;
		EXPECT_EQ(cutoff->text(), text);
	}
}

TEST(Cutoff, ParsesNothingElse)
{
	for (const char *text : {"", ":", "1:2", "1:2:x", "1:2:3,", "1:2:,3", "1:2:4,3", "a:2:", "1:-2:", "1:2:3 "})
		EXPECT_FALSE(Cutoff::parse(text)) << text;
}

TEST(FullXid, IsTheLatestBeforeTheNext)
{
	constexpr FullXid epoch = FullXid{1} << 32;
	EXPECT_EQ(full_xid(7, 9), 7u);
	EXPECT_EQ(full_xid(7, epoch + 9), epoch + 7);
	EXPECT_EQ(full_xid(9, epoch + 9), 9u);
	EXPECT_EQ(full_xid(0xfffffff0u, epoch + 9), 0xfffffff0u);
	EXPECT_EQ(full_xid(0xfffffff0u, 3 * epoch + 9), 2 * epoch + 0xfffffff0u);
	EXPECT_EQ(full_xid(12, 9), 12u) << "in the first epoch there is no earlier one";
}

} // namespace
} // namespace pgbraid::core
