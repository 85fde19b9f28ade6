#include "core/base/backoff.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

using namespace std::chrono_literals;

TEST(Backoff, DoublesUpToTheMost)
{
	const std::chrono::milliseconds expected[] = {0ms, 100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms};
	for (unsigned failures = 0; failures < std::size(expected); failures++)
		EXPECT_EQ(backoff(failures, 100ms, 1000ms), expected[failures]) << failures;
}

TEST(Backoff, StaysAtTheMostForEver)
{
	for (unsigned failures : {31u, 32u, 64u, 1000u, 0xffffffffu})
		EXPECT_EQ(backoff(failures, 100ms, 10s), 10s) << failures;
}

TEST(Backoff, JitterTakesOffUpToAQuarter)
{
	EXPECT_EQ(backoff(3, 100ms, 10s, 0), 400ms);
	EXPECT_EQ(backoff(3, 100ms, 10s, 0x80000000u), 350ms);
	EXPECT_EQ(backoff(3, 100ms, 10s, 0xffffffffu), 300ms);
	EXPECT_EQ(backoff(0, 100ms, 10s, 0xffffffffu), 0ms);
}

TEST(Backoff, NeverMoreThanTheMostNorNegative)
{
	EXPECT_EQ(backoff(1, 5s, 1s), 1s);
	EXPECT_EQ(backoff(1, 0ms, 1s, 77), 0ms);
}

} // namespace
} // namespace pgbraid::core
