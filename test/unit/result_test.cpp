#include "core/base/result.h"

#include <gtest/gtest.h>
#include <memory>

namespace pgbraid::core {
namespace {

Result<std::unique_ptr<int>> half(int value)
{
	if (value % 2 != 0)
		return Error{"22023", "odd", "detail", "hint"};
	return std::make_unique<int>(value / 2);
}

TEST(Result, HoldsAValueThatOnlyMoves)
{
	auto result = half(10);
	ASSERT_TRUE(result.ok());
	ASSERT_TRUE(static_cast<bool>(result));
	EXPECT_EQ(**result, 5);
	std::unique_ptr<int> taken = std::move(*result);
	EXPECT_EQ(*taken, 5);
}

TEST(Result, HoldsAnError)
{
	auto result = half(3);
	ASSERT_FALSE(result.ok());
	EXPECT_STREQ(result.error().sqlstate, "22023");
	EXPECT_EQ(result.error().message, "odd");
	EXPECT_EQ(result.error().detail, "detail");
	EXPECT_EQ(result.error().hint, "hint");
}

TEST(Result, ErrorIsInternalUnlessSaidOtherwise)
{
	Status status = Error{};
	EXPECT_FALSE(status.ok());
	EXPECT_STREQ(status.error().sqlstate, "XX000");
	EXPECT_TRUE(Status{Nothing{}}.ok());
}

} // namespace
} // namespace pgbraid::core
