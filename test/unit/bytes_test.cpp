#include "core/base/bytes.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

TEST(Bytes, AppendsAcrossGrowth)
{
	Bytes bytes;
	std::string expected;
	for (int i = 0; i < 2000; i++) {
		std::string piece(static_cast<std::size_t>(i % 7), static_cast<char>('a' + i % 26));
		bytes.append(piece);
		bytes.append('.');
		expected += piece + '.';
	}
	EXPECT_EQ(bytes.view(), expected);
	EXPECT_EQ(bytes.view(expected.size() - 3), expected.substr(expected.size() - 3));
	EXPECT_EQ(bytes.view(10, 5), expected.substr(10, 5));
}

TEST(Bytes, ReserveGivesRoomAndCommitTakesWhatWasWritten)
{
	Bytes bytes;
	bytes.append("head");
	char *to = bytes.reserve(1000);
	std::memset(to, 'x', 1000);
	EXPECT_EQ(bytes.size(), 4u);
	bytes.commit(to + 3);
	EXPECT_EQ(bytes.view(), "headxxx");
}

TEST(Bytes, TruncatesAndClears)
{
	Bytes bytes;
	EXPECT_TRUE(bytes.empty());
	bytes.append("abcdef");
	bytes.truncate(2);
	bytes.append('z');
	EXPECT_EQ(bytes.view(), "abz");
	bytes.clear();
	EXPECT_TRUE(bytes.empty());
	EXPECT_EQ(bytes.size(), 0u);
}

TEST(Bytes, MovesWithoutCopying)
{
	Bytes from;
	from.append("content");
	const char *data = from.data();
	Bytes to(std::move(from));
	EXPECT_EQ(to.data(), data);
	Bytes other;
	other.append("old");
	other = std::move(to);
	EXPECT_EQ(other.view(), "content");
	EXPECT_EQ(other.data(), data);
}

} // namespace
} // namespace pgbraid::core
