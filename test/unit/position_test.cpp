#include "core/flow/position.h"

#include <gtest/gtest.h>
#include <random>

namespace pgbraid::core {
namespace {

constexpr std::uint64_t most = ~std::uint64_t{0};

std::string id_of(const History &history, Position position)
{
	Bytes bytes;
	append_message_id(bytes, history, position);
	return std::string{bytes.view()};
}

std::string lsn_of(Lsn lsn)
{
	Bytes bytes;
	append_lsn(bytes, lsn);
	return std::string{bytes.view()};
}

TEST(Position, OrdersByLsnThenOrdinal)
{
	EXPECT_LT((Position{1, most}), (Position{2, 0}));
	EXPECT_LT((Position{2, 0}), (Position{2, 1}));
	EXPECT_EQ((Position{2, 1}), (Position{2, 1}));
	EXPECT_LT((Position{2, 1}), (Position{2, 2, 0}));
	EXPECT_LT((Position{2, 2, 0}), (Position{2, 2, 1}));
	EXPECT_LT((Position{2, 2, 9}), (Position{2, 2}));
}

TEST(MessageId, HasTheDocumentedForm)
{
	EXPECT_EQ(id_of({7213456789012345678, "1-2"}, {0x16B374D848, 42}), "7213456789012345678.1-2.00000016B374D848.42");
	EXPECT_EQ(id_of({0, "e"}, {0, 0}), "0.e.0000000000000000.0");
	EXPECT_EQ(id_of({most, "e"}, {most, most}), "18446744073709551615.e.FFFFFFFFFFFFFFFF.18446744073709551615");
	EXPECT_EQ(id_of({0, "e"}, {7, 5, 0}), "0.e.0000000000000007.5.0");
	EXPECT_EQ(id_of({0, "e"}, {7, 5, 12}), "0.e.0000000000000007.5.12");
}

TEST(MessageId, ParsesWhatItWrites)
{
	std::mt19937_64 random(1);
	for (int i = 0; i < 10000; i++) {
		History history{random() >> random() % 64, std::to_string(random() % 9) + "-" + std::to_string(random())};
		Position position{random() >> random() % 64, random() >> random() % 64};
		if (i % 2 == 0)
			position.part = static_cast<std::uint32_t>(random() % Position::whole);
		auto id = parse_message_id(id_of(history, position));
		ASSERT_TRUE(id);
		EXPECT_EQ(id->history, history);
		EXPECT_EQ(id->position, position);
	}
}

TEST(MessageId, RefusesEverythingElse)
{
	for (const char *text : {
			 "",
			 ".",
			 "...",
			 "1.e.0000000000000000",
			 "1.e.0000000000000000.",
			 "1.e.0000000000000000.1.",
			 "1.e.0000000000000000.1.01",
			 "1.e.0000000000000000.1.2.3",
			 "1.e.0000000000000000.1.4294967295",
			 "1.e.0000000000000000.1.4294967296",
			 ".e.0000000000000000.1",
			 "1..0000000000000000.1",
			 "1.e.000000000000000.1",
			 "1.e.00000000000000000.1",
			 "1.e.000000000000000a.1",
			 "1.e.000000000000000G.1",
			 "1.e.0000000000000000.1.",
			 "1.e.0000000000000000.01",
			 "01.e.0000000000000000.1",
			 "-1.e.0000000000000000.1",
			 "+1.e.0000000000000000.1",
			 " 1.e.0000000000000000.1",
			 "1.e.0000000000000000.1 ",
			 "1.e e.0000000000000000.1",
			 "1.\xC3\xA9.0000000000000000.1",
			 "18446744073709551616.e.0000000000000000.1",
			 "1.e.0000000000000000.18446744073709551616",
		 })
		EXPECT_FALSE(parse_message_id(text)) << text;
	EXPECT_TRUE(parse_message_id("1.e.0000000000000000.1"));
}

TEST(Lsn, PrintsAsPostgresDoes)
{
	EXPECT_EQ(lsn_of(0x16B374D848), "16/B374D848");
	EXPECT_EQ(lsn_of(0), "0/0");
	EXPECT_EQ(lsn_of(0x100000000), "1/0");
	EXPECT_EQ(lsn_of(most), "FFFFFFFF/FFFFFFFF");
	EXPECT_EQ(lsn_of(0xA0000000B), "A/B");
}

TEST(Hex, KeepsTheLastDigits)
{
	Bytes bytes;
	append_hex(bytes, 0xABC, 2);
	append_hex(bytes, 0xABC, 5);
	EXPECT_EQ(bytes.view(), "BC00ABC");
}

} // namespace
} // namespace pgbraid::core
