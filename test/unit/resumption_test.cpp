#include "core/flow/resumption.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

constexpr std::uint64_t us = 7;

// Timeline 3 of WAL, generation 2 of the flow; timeline 2 ended at 500, timeline 1 at 200.
Standing standing()
{
	Standing made;
	made.system = us;
	made.epoch = {16384, 1, 3, 2};
	made.ancestors = {{2, 500}, {1, 200}};
	made.wal_end = 1000;
	return made;
}

StreamTail tail(std::uint64_t sequence, Epoch epoch, Position position, std::uint64_t system = us)
{
	return {sequence, MessageId{{system, to_text(epoch)}, position}};
}

TEST(Resumption, BeginsWithAnEmptyStream)
{
	auto found = resume_after(standing());
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after.lsn, 0u);
	EXPECT_FALSE(found.must_be_met);
}

TEST(Resumption, GoesOnAfterItsOwnLastMessage)
{
	auto known = standing();
	known.tail = tail(10, known.epoch, {700, 3});
	known.settled = {600, 8, {590, 1}};
	known.known = {700, 10, {700, 3}};
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{700, 3}));
	EXPECT_TRUE(found.must_be_met);
	EXPECT_FALSE(found.went_back);
}

TEST(Resumption, RepeatsWhatAStreamLostWithinTheHorizon)
{
	auto known = standing();
	known.tail = tail(9, known.epoch, {650, 1});
	known.settled = {600, 8, {590, 1}};
	known.known = {700, 12, {700, 3}};
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{650, 1}));
	EXPECT_TRUE(found.went_back);
}

TEST(Resumption, ExpectsToMeetAnEventOfWhichAPieceIsThere)
{
	auto known = standing();
	known.tail = tail(10, known.epoch, {704, 3, 2});
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{704, 3, 2}));
	EXPECT_TRUE(found.must_be_met);
}

TEST(Resumption, ExpectsNoRowOfASnapshotToBeMet)
{
	auto known = standing();
	known.tail = tail(10, known.epoch, {703, 3, 2}); // a piece of the first row
	EXPECT_FALSE(resume_after(known).must_be_met);
	known.tail.last->position = {703, 3, 0}; // a schema
	EXPECT_FALSE(resume_after(known).must_be_met);
	known.tail.last->position = {703, 3, 1};
	known.tail.snapshot = "1/16384/41";
	EXPECT_TRUE(resume_after(known).in_snapshot);
	EXPECT_FALSE(resume_after(known).must_be_met);
	EXPECT_EQ(last_whole({703, 3, 2}), (Position{703, 2}));
	EXPECT_EQ(last_whole({703, 3}), (Position{703, 3}));
}

TEST(Resumption, IsLostWhenAStreamLostMore)
{
	auto known = standing();
	known.settled = {600, 8, {590, 1}};
	known.tail = tail(7, known.epoch, {580, 1});
	EXPECT_EQ(resume_after(known).course, Course::lost);
	known.tail = {};
	EXPECT_EQ(resume_after(known).course, Course::lost) << "deleted";
	known.tail = tail(8, known.epoch, {580, 1});
	EXPECT_EQ(resume_after(known).course, Course::lost) << "others have taken their place";
}

TEST(Resumption, KnowsTheEndOfAPurgedStreamByItsSequence)
{
	auto known = standing();
	known.settled = {600, 8, {590, 1}};
	known.known = {700, 12, {700, 3}};
	known.tail.sequence = 12;
	EXPECT_EQ(resume_after(known).after, (Position{700, 3}));
	known.tail.sequence = 8;
	EXPECT_EQ(resume_after(known).after, (Position{590, 1}));
	EXPECT_TRUE(resume_after(known).went_back);
	known.tail.sequence = 14;
	EXPECT_EQ(resume_after(known).after.lsn, 0u) << "from the slot's position on";
	EXPECT_EQ(resume_after(known).course, Course::go_on);
}

TEST(Resumption, GoesOnInAnotherStream)
{
	auto known = standing();
	known.known.position = {700, 3};
	EXPECT_EQ(resume_after(known).after, (Position{700, 3}));
	EXPECT_FALSE(resume_after(known).went_back);
	known.tail = tail(10, known.epoch, {800, 1});
	EXPECT_EQ(resume_after(known).after, (Position{800, 1})) << "it was ours before";
}

TEST(Resumption, NoticesThatTheDatabaseWasRestored)
{
	auto known = standing();
	known.tail = tail(10, known.epoch, {1000, 1});
	EXPECT_EQ(resume_after(known).course, Course::restored);
	known.tail = tail(10, {16384, 1, 0, 2}, {100, 1});
	EXPECT_EQ(resume_after(known).course, Course::restored) << "a timeline that is no ancestor";
}

TEST(Resumption, GoesOnAfterAPromotion)
{
	auto known = standing();
	known.tail = tail(10, {16384, 1, 2, 2}, {450, 3});
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{450, 3}));
	EXPECT_FALSE(found.has_undone);
}

TEST(Resumption, GoesOnWhereHistoriesPart)
{
	auto known = standing();
	known.tail = tail(10, {16384, 1, 1, 2}, {200, 1});
	known.settled = {190, 9, {350, 1}};
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after.lsn, 199u) << "all before was published in order";
	EXPECT_TRUE(found.has_undone);
	EXPECT_FALSE(found.must_be_met);
}

TEST(Resumption, GivesWayToALaterEpochAndToOthers)
{
	auto known = standing();
	for (auto other :
		 {tail(10, {16384, 1, 4, 2}, {1, 1}), tail(10, {16384, 1, 3, 3}, {1, 1}), tail(10, {16384, 2, 3, 2}, {1, 1}),
		  tail(10, {5, 1, 3, 2}, {1, 1}), tail(10, known.epoch, {1, 1}, us + 1)}) {
		known.tail = other;
		EXPECT_EQ(resume_after(known).course, Course::other_writer);
	}
	known.first_sequence = 10;
	EXPECT_EQ(resume_after(known).course, Course::go_on) << "it was there before this flow wrote anything";
}

TEST(Resumption, OfAnEarlierGenerationBeginsAnew)
{
	auto known = standing();
	known.tail = tail(10, {16384, 1, 3, 1}, {700, 3});
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after.lsn, 0u);
}

TEST(Resumption, KnowsARowOfASnapshot)
{
	auto known = standing();
	known.tail = tail(10, known.epoch, {700, 3});
	known.tail.snapshot = "1/16385/[\"7\"]";
	auto found = resume_after(known);
	EXPECT_TRUE(found.in_snapshot);
	EXPECT_FALSE(found.must_be_met) << "WAL has no such event";
}

} // namespace
} // namespace pgbraid::core
