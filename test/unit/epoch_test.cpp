#include "core/flow/epoch.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

TEST(Epoch, RoundTrip)
{
	Epoch epoch{16384, 7, 2, 3};
	EXPECT_EQ(to_text(epoch), "16384-7-2-3");
	EXPECT_EQ(parse_epoch("16384-7-2-3"), epoch);
	Epoch most{0xffffffff, INT64_MAX, 0xffffffff, INT64_MAX};
	EXPECT_EQ(parse_epoch(to_text(most)), most);
}

TEST(Epoch, RefusesWhatItDoesNotPrint)
{
	for (const char *text : {"", "1", "1-1", "1-2-3", "1-2-3-", "1-2-3-4-", "1-2-3-4-5", "01-2-3-4", "1-2-3-4x",
							 "-1-2-3-4", " 1-2-3-4", "1--2-3-4", "4294967296-1-1-1"})
		EXPECT_FALSE(parse_epoch(text)) << text;
}

TEST(Epoch, Order)
{
	Epoch first{5, 1, 1, 1}, remade{5, 1, 1, 2}, promoted{5, 1, 2, 1};
	EXPECT_TRUE(remade.is_later_than(first));
	EXPECT_TRUE(promoted.is_later_than(remade));
	EXPECT_FALSE(first.is_later_than(first));
	EXPECT_FALSE(remade.is_later_than(promoted));
	EXPECT_TRUE(first.is_same_flow(promoted));
	EXPECT_FALSE(first.is_same_flow(Epoch{5, 2, 1, 1}));
	EXPECT_FALSE(first.is_same_flow(Epoch{6, 1, 1, 1}));
}

} // namespace
} // namespace pgbraid::core
