#include "core/flow/turns.h"

#include "core/flow/resumption.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace pgbraid::core {
namespace {

constexpr std::uint64_t us = 7;
const Epoch ours{16384, 1, 3, 2}, theirs{16400, 1, 3, 1};

// A stream whose messages have, of each flow, the positions 8, 16, 24, ...
class Stream {
public:
	void write(const Epoch &epoch, std::uint64_t count)
	{
		for (std::uint64_t i = 0; i < count; i++)
			add(epoch, {written_[to_text(epoch)] += 8, 1});
	}
	void add(const Epoch &epoch, Position position)
	{
		last_++;
		messages_[last_] = {last_, MessageId{{us, to_text(epoch)}, position}};
	}
	void purge(std::uint64_t up_to) { messages_.erase(messages_.begin(), messages_.upper_bound(up_to)); }
	void lose_after(std::uint64_t sequence)
	{
		messages_.erase(messages_.upper_bound(sequence), messages_.end());
		last_ = sequence;
	}
	StreamTail &at(std::uint64_t sequence) { return messages_.at(sequence); }
	std::uint64_t last() const { return last_; }
	StreamTail tail() const
	{
		auto found = messages_.find(last_);
		return found == messages_.end() ? StreamTail{last_, std::nullopt} : found->second;
	}
	OwnEnd own_end(const Turn &turn)
	{
		looks = 0;
		auto found = find_own_end(turn, tail(), [this](std::uint64_t sequence) -> Result<std::optional<StreamTail>> {
			looks++;
			auto met = messages_.lower_bound(sequence);
			return met == messages_.end() ? std::nullopt : std::optional(met->second);
		});
		EXPECT_TRUE(found.ok());
		return *found;
	}
	int looks = 0;

private:
	std::map<std::uint64_t, StreamTail> messages_;
	std::map<std::string, Lsn> written_;
	std::uint64_t last_ = 0;
};

Turn turn(std::uint64_t first, std::uint64_t known = 0, std::uint64_t settled = 0)
{
	return {.system = us, .epoch = ours, .first_sequence = first, .known = known, .settled = settled};
}

// As a worker finds it, that knows nothing but its last turn.
Standing standing(Stream &stream, const Turn &turn)
{
	Standing made;
	made.system = us;
	made.epoch = ours;
	made.wal_end = 1 << 20;
	made.tail = stream.tail();
	made.first_sequence = turn.first_sequence;
	made.settled.sequence = turn.settled;
	made.known.sequence = turn.known;
	made.follows_family = true;
	made.own = stream.own_end(turn);
	return made;
}

TEST(Turns, TheFamilyIsNoOtherWriter)
{
	Stream stream;
	stream.write(ours, 10);
	stream.write(theirs, 5);
	auto known = standing(stream, turn(0, 10));
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{80, 1}));
	EXPECT_TRUE(found.must_be_met);
	EXPECT_TRUE(found.begins_turn);
	EXPECT_FALSE(found.went_back);
	known.follows_family = false;
	EXPECT_EQ(resume_after(known).course, Course::other_writer) << "unless the flow follows its branch";
}

TEST(Turns, OthersStayOtherWriters)
{
	for (Epoch other : {Epoch{16400, 2, 3, 1}, Epoch{16400, 1, 4, 1}, Epoch{16384, 1, 3, 3}}) {
		Stream stream;
		stream.write(ours, 3);
		stream.write(other, 1);
		EXPECT_EQ(resume_after(standing(stream, turn(0, 3))).course, Course::other_writer) << to_text(other);
	}
	Stream stream;
	stream.write(ours, 3);
	stream.write(theirs, 1);
	auto known = standing(stream, turn(0, 3));
	known.tail.last->history.system = us + 1;
	EXPECT_EQ(resume_after(known).course, Course::other_writer) << "another cluster";
}

TEST(Turns, FindsWhatWasStoredButNotAcknowledged)
{
	for (std::uint64_t stored : {0, 1, 2, 7, 64, 1000}) {
		Stream stream;
		stream.write(ours, 10 + stored);
		stream.write(theirs, 3000);
		auto end = stream.own_end(turn(0, 10));
		EXPECT_EQ(end.message, 10 + stored);
		ASSERT_TRUE(end.tail.last);
		EXPECT_EQ(end.tail.last->position, (Position{8 * (10 + stored), 1}));
		EXPECT_LE(stream.looks, 14);
	}
}

TEST(Turns, OfOursOnlyTheTailIsTakenAsItIs)
{
	Stream stream;
	stream.write(theirs, 3);
	stream.write(ours, 10);
	auto found = resume_after(standing(stream, turn(3, 9)));
	EXPECT_EQ(stream.looks, 0);
	EXPECT_EQ(found.after, (Position{80, 1}));
	EXPECT_FALSE(found.begins_turn) << "it is the same turn";
}

TEST(Turns, LooksNoFurtherBackThanTheLastTurn)
{
	Stream stream;
	stream.write(ours, 10);
	stream.write(theirs, 10);
	stream.write(ours, 10);
	stream.write(theirs, 10);
	auto known = turn(20);
	known.message_before = 10;
	auto found = resume_after(standing(stream, known));
	EXPECT_EQ(found.after, (Position{160, 1}));
	EXPECT_TRUE(found.begins_turn);
}

TEST(Turns, KnowsWhatWasThereBeforeATurnInWhichNothingWasWritten)
{
	Stream stream;
	stream.write(ours, 10);
	stream.at(10).snapshot = "1/16385/9";
	stream.write(theirs, 20);
	auto known = turn(20, 8, 6); // others have written ten more since
	known.message_before = 10;
	auto stands = standing(stream, known);
	EXPECT_EQ(stands.own->message, 10u);
	EXPECT_EQ(stands.own->tail.sequence, 20u);
	auto found = resume_after(stands);
	EXPECT_EQ(found.after, (Position{80, 1}));
	EXPECT_TRUE(found.in_snapshot);
	EXPECT_FALSE(found.went_back);
	stream.purge(15);
	stands = standing(stream, known);
	EXPECT_EQ(stands.own->message, 10u);
	stands.before = {.sequence = 20, .position = {80, 1}};
	EXPECT_EQ(resume_after(stands).after, (Position{80, 1})) << "a purge does not matter";
}

TEST(Turns, APurgeLeavesWhatIsKnown)
{
	Stream stream;
	stream.write(ours, 10);
	stream.write(theirs, 10);
	stream.purge(15);
	auto known = standing(stream, turn(0, 8, 5));
	known.known.position = {64, 1};
	known.settled.position = {40, 1};
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{64, 1}));
	stream.purge(20);
	known.tail = stream.tail();
	known.own = stream.own_end(turn(0, 8, 5));
	EXPECT_EQ(resume_after(known).after, (Position{64, 1})) << "the stream is empty";
}

TEST(Turns, RepeatsWhatTheStreamLostBeforeOthersWrote)
{
	Stream stream;
	stream.write(ours, 10);
	stream.lose_after(7);
	stream.write(theirs, 10);
	auto known = standing(stream, turn(0, 10, 5));
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after, (Position{56, 1}));
	EXPECT_TRUE(found.went_back);
}

TEST(Turns, IsLostWhenTheStreamLostWhatIsSettled)
{
	Stream stream;
	stream.write(ours, 10);
	stream.lose_after(3);
	stream.write(theirs, 10);
	EXPECT_EQ(resume_after(standing(stream, turn(0, 10, 5))).course, Course::lost);
	stream.lose_after(2);
	EXPECT_EQ(resume_after(standing(stream, turn(4, 10, 5))).course, Course::lost) << "before the turn began";
}

TEST(Turns, ANewGenerationBeginsAnew)
{
	Stream stream;
	stream.write(theirs, 4);
	Standing known;
	known.system = us;
	known.epoch = ours;
	known.tail = stream.tail();
	known.follows_family = true;
	auto found = resume_after(known);
	EXPECT_EQ(found.course, Course::go_on);
	EXPECT_EQ(found.after.lsn, 0u);
	known.known.position = {700, 3};
	EXPECT_EQ(resume_after(known).after, (Position{700, 3})) << "known by another stream";
}

TEST(Turns, PiecesBeginAnewAfterOthers)
{
	Stream stream;
	stream.write(ours, 1);
	stream.add(ours, {16, 1, 2});
	stream.at(2).piece = Piece{{5000, 1, 5}, 2};
	stream.write(theirs, 1);
	auto end = stream.own_end(turn(0, 1));
	EXPECT_EQ(end.tail.last->position, (Position{16, 1, 2})) << "no part gets an id that the stream has";
	EXPECT_FALSE(end.tail.piece);
}

TEST(Turns, AnErrorOfTheStreamIsPassedOn)
{
	Stream stream;
	stream.write(ours, 1);
	stream.write(theirs, 9);
	auto away = [](std::uint64_t) -> Result<std::optional<StreamTail>> { return Error{"08006", "away"}; };
	auto found = find_own_end(turn(0, 1), stream.tail(), away);
	ASSERT_FALSE(found.ok());
	EXPECT_STREQ(found.error().sqlstate, "08006");
}

// Two branches write in turn, and one of them forgets all but what it notes when a turn begins.
TEST(Turns, NothingIsLostOrRepeatedOverManyTurns)
{
	for (unsigned seed = 0; seed < 200; seed++) {
		std::mt19937 random(seed);
		Stream stream;
		Turn noted = turn(0);
		Lsn written = 0;
		for (int turns = 0; turns < 12; turns++) {
			auto known = standing(stream, noted);
			auto found = resume_after(known);
			ASSERT_EQ(found.course, Course::go_on) << "seed " << seed;
			ASSERT_EQ(found.after.lsn, written) << "seed " << seed << ", turn " << turns;
			if (found.begins_turn) {
				noted.first_sequence = stream.last();
				noted.message_before = known.own->message;
			}
			std::uint64_t mine = random() % 3 == 0 ? 0 : random() % 40;
			std::uint64_t begin = stream.last();
			stream.write(ours, mine);
			written += 8 * mine;
			if (mine > 0 && random() % 2 == 0) // some of them are acknowledged
				noted.known = begin + random() % mine + 1;
			if (random() % 3 == 0)
				noted.known = 0; // PostgreSQL crashed
			if (random() % 4 > 0)
				stream.write(theirs, random() % 40);
		}
	}
}

} // namespace
} // namespace pgbraid::core
