#include "core/flow/pack.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

const History history{12, "1-1"};
const Pack::Kind kind{"s", "t", 0};

void add(Pack &pack, Batch &batch, std::uint64_t seq, std::string_view row, const Pack::Kind &of = kind)
{
	if (!pack.empty() && !pack.takes(of))
		pack.take(batch, history);
	if (pack.empty())
		pack.open(of, "A: 1\r\n");
	pack.begin_row().append(row);
	if (pack.end_row({7, seq}))
		pack.take(batch, history, "B: 2\r\n");
}

TEST(Pack, HasThePositionOfItsLastRow)
{
	Batch batch;
	Pack pack(Pack::Layout::lines, 3);
	for (std::uint64_t seq = 1; seq <= 7; seq++)
		add(pack, batch, seq, "r" + std::to_string(seq));
	ASSERT_EQ(batch.size(), 2u);
	EXPECT_EQ(batch[0].payload, "r1\nr2\nr3");
	EXPECT_EQ(batch[0].position, (Position{7, 3}));
	EXPECT_EQ(batch[0].id, "12.1-1.0000000000000007.3");
	EXPECT_EQ(batch[0].headers, "A: 1\r\nB: 2\r\n");
	EXPECT_EQ(batch[1].payload, "r4\nr5\nr6");
	EXPECT_FALSE(pack.empty());
	pack.take(batch, history);
	EXPECT_TRUE(pack.empty());
	EXPECT_EQ(batch[2].payload, "r7");
	EXPECT_EQ(batch[2].headers, "A: 1\r\n");
	EXPECT_EQ(batch[2].position, (Position{7, 7}));
}

TEST(Pack, OfAnArray)
{
	Batch batch;
	Pack pack(Pack::Layout::array, 2);
	add(pack, batch, 1, "{}");
	add(pack, batch, 2, "{1}");
	add(pack, batch, 3, "{2}");
	pack.take(batch, history);
	EXPECT_EQ(batch[0].payload, "[{},{1}]");
	EXPECT_EQ(batch[1].payload, "[{2}]");
}

TEST(Pack, TakesRowsOfItsKindOnly)
{
	Pack pack(Pack::Layout::lines, 9);
	EXPECT_FALSE(pack.takes(kind));
	pack.open(kind, {});
	pack.begin_row();
	EXPECT_FALSE(pack.end_row({7, 1}));
	EXPECT_TRUE(pack.takes(kind));
	EXPECT_FALSE(pack.takes({"other", "t", 0}));
	EXPECT_FALSE(pack.takes({"s", "other", 0}));
	EXPECT_FALSE(pack.takes({"s", "t", 1}));
}

TEST(Pack, ARowThatDoesNotFitBeginsTheNext)
{
	for (auto layout : {Pack::Layout::lines, Pack::Layout::array}) {
		bool array = layout == Pack::Layout::array;
		Batch batch;
		Pack pack(layout, 100);
		pack.limit_bytes(10);
		add(pack, batch, 1, "aaaa");
		add(pack, batch, 2, "bb");
		EXPECT_EQ(batch.size(), 0u);
		add(pack, batch, 3, "cccc");
		ASSERT_EQ(batch.size(), 1u);
		EXPECT_EQ(batch[0].payload, array ? "[aaaa,bb]" : "aaaa\nbb");
		EXPECT_EQ(batch[0].position, (Position{7, 2}));
		EXPECT_TRUE(pack.takes(kind));
		EXPECT_EQ(pack.position(), (Position{7, 3}));
		pack.take(batch, history);
		EXPECT_EQ(batch[1].payload, array ? "[cccc]" : "cccc");
		EXPECT_EQ(batch[1].position, (Position{7, 3}));
		EXPECT_EQ(batch[1].headers, "A: 1\r\n");
	}
}

TEST(Pack, AHugeRowGoesAlone)
{
	Batch batch;
	Pack pack(Pack::Layout::lines, 100);
	pack.limit_bytes(10);
	add(pack, batch, 1, "a");
	add(pack, batch, 2, std::string(50, 'x'));
	add(pack, batch, 3, "b");
	pack.take(batch, history);
	ASSERT_EQ(batch.size(), 3u);
	EXPECT_EQ(batch[0].payload, "a");
	EXPECT_EQ(batch[1].payload, std::string(50, 'x'));
	EXPECT_EQ(batch[2].payload, "b");
	EXPECT_EQ(batch[2].position, (Position{7, 3}));
}

// Whatever the limits, the rows come out as they went in.
TEST(Pack, NeitherLosesNorRepeatsRows)
{
	for (std::size_t most_rows = 2; most_rows < 6; most_rows++) {
		for (std::size_t most_bytes = 0; most_bytes < 20; most_bytes++) {
			Batch batch;
			Pack pack(Pack::Layout::lines, most_rows);
			pack.limit_bytes(most_bytes);
			std::string expected, got;
			for (std::uint64_t seq = 1; seq <= 60; seq++) {
				std::string row(seq * 7 % 11, static_cast<char>('a' + seq % 26));
				expected += row + "\n";
				add(pack, batch, seq, row, seq % 17 == 0 ? Pack::Kind{"s", "u", 0} : kind);
			}
			if (!pack.empty())
				pack.take(batch, history);
			for (std::size_t i = 0; i < batch.size(); i++) {
				got += std::string{batch[i].payload} + "\n";
				EXPECT_TRUE(i == 0 || batch[i - 1].position < batch[i].position);
			}
			EXPECT_EQ(got, expected);
			EXPECT_EQ(batch[batch.size() - 1].position, (Position{7, 60}));
		}
	}
}

TEST(Pack, HasThePlaceOfItsLastRow)
{
	Batch batch;
	Pack pack(Pack::Layout::lines, 10);
	pack.limit_bytes(5);
	pack.open(kind, "");
	std::string places;
	for (std::uint64_t seq = 1; seq <= 5; seq++) {
		pack.begin_row().append("ab");
		std::string place = "p" + std::to_string(seq);
		if (pack.end_row({7, seq}, place)) {
			places += std::string(pack.place()) + " " + std::to_string(pack.position().seq) + ",";
			pack.take(batch, history);
		}
	}
	places += pack.place();
	EXPECT_EQ(places, "p2 2,p4 4,p5");
}

} // namespace
} // namespace pgbraid::core
