#include "core/flow/outbox.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

const History ours{7, "1-1"};

std::unique_ptr<Batch> batch_of(std::uint64_t first, std::uint64_t count, Lsn complete = 0)
{
	auto batch = std::make_unique<Batch>();
	for (std::uint64_t i = first; i < first + count; i++) {
		batch->begin("s", ours, {i, 0});
		batch->payload().append(std::to_string(i));
		batch->end();
	}
	batch->complete_up_to(complete);
	return batch;
}

StreamTail tail_of(std::uint64_t sequence, std::uint64_t message)
{
	return {sequence, MessageId{ours, {message, 0}}};
}

// Sends all there is; the payloads, each with the sequence it expects.
std::string send_all(Outbox &outbox)
{
	std::string log;
	while (auto next = outbox.next()) {
		log += std::string{next->message.payload} + "@" + std::to_string(next->expected_sequence) + " ";
		outbox.sent();
	}
	return log;
}

TEST(Outbox, SendsNothingBeforeItKnowsTheTail)
{
	Outbox outbox(ours);
	outbox.add(batch_of(1, 2));
	EXPECT_FALSE(outbox.next());
	outbox.acknowledged(1);
	EXPECT_EQ(outbox.unacknowledged_messages(), 2u);
	ASSERT_TRUE(outbox.resume({40, {}}).ok());
	EXPECT_EQ(send_all(outbox), "1@40 2@41 ");
	EXPECT_EQ(outbox.sent_sequence(), 42u);
	EXPECT_EQ(outbox.acknowledged_sequence(), 40u);
}

TEST(Outbox, TellsTheEndsOfBatches)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	outbox.add(batch_of(1, 3));
	outbox.add(batch_of(4, 1));
	std::string ends;
	for (; auto next = outbox.next(); outbox.sent())
		ends += next->first_of_batch ? (next->last_of_batch ? "b" : "f") : (next->last_of_batch ? "l" : "-");
	EXPECT_EQ(ends, "f-lb");
}

TEST(Outbox, FreesABatchWhenAllOfItIsAcknowledged)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	auto first = batch_of(1, 3, 100), second = batch_of(4, 2, 200);
	std::size_t first_size = first->bytes(), second_size = second->bytes();
	outbox.add(std::move(first));
	outbox.add(std::move(second));
	EXPECT_EQ(outbox.unacknowledged_bytes(), first_size + second_size);
	send_all(outbox);
	outbox.acknowledged(2);
	EXPECT_EQ(outbox.unacknowledged_bytes(), first_size + second_size);
	EXPECT_EQ(outbox.complete_up_to(), 0u);
	EXPECT_EQ(outbox.unacknowledged_messages(), 3u);
	outbox.acknowledged(4);
	EXPECT_EQ(outbox.unacknowledged_bytes(), second_size);
	EXPECT_EQ(outbox.complete_up_to(), 100u);
	outbox.acknowledged(5);
	EXPECT_EQ(outbox.unacknowledged_bytes(), 0u);
	EXPECT_EQ(outbox.complete_up_to(), 200u);
	EXPECT_EQ(outbox.unacknowledged_messages(), 0u);
	EXPECT_EQ(outbox.acknowledged_messages(), 5u);
}

TEST(Outbox, IgnoresOldAndImpossibleAcknowledgements)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({10, {}}).ok());
	outbox.add(batch_of(1, 3));
	outbox.sent();
	outbox.sent();
	outbox.acknowledged(13);
	EXPECT_EQ(outbox.acknowledged_sequence(), 10u);
	outbox.acknowledged(12);
	outbox.acknowledged(12);
	outbox.acknowledged(11);
	outbox.acknowledged(0);
	EXPECT_EQ(outbox.acknowledged_sequence(), 12u);
	EXPECT_EQ(outbox.acknowledged_messages(), 2u);
	EXPECT_EQ(send_all(outbox), "3@12 ");
}

TEST(Outbox, EmptyBatchCountsOnceAllBeforeItIsStored)
{
	Outbox outbox(ours);
	outbox.add(batch_of(0, 0, 5));
	EXPECT_EQ(outbox.complete_up_to(), 5u);
	ASSERT_TRUE(outbox.resume({}).ok());
	outbox.add(batch_of(1, 1, 10));
	outbox.add(batch_of(0, 0, 20));
	outbox.add(batch_of(0, 0, 30));
	outbox.add(batch_of(2, 1, 40));
	outbox.add(batch_of(0, 0, 50));
	EXPECT_EQ(outbox.complete_up_to(), 5u);
	EXPECT_EQ(send_all(outbox), "1@0 2@1 ");
	outbox.acknowledged(1);
	EXPECT_EQ(outbox.complete_up_to(), 30u);
	outbox.acknowledged(2);
	EXPECT_EQ(outbox.complete_up_to(), 50u);
	outbox.add(batch_of(0, 0, 45));
	EXPECT_EQ(outbox.complete_up_to(), 50u) << "never goes back";
	outbox.add(batch_of(3, 1));
	EXPECT_EQ(send_all(outbox), "3@2 ");
}

TEST(Outbox, ResumesInTheMiddleOfABatch)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({100, {}}).ok());
	outbox.add(batch_of(1, 3, 10));
	outbox.add(batch_of(4, 3, 20));
	send_all(outbox);
	ASSERT_TRUE(outbox.resume(tail_of(105, 5)).ok());
	EXPECT_EQ(outbox.complete_up_to(), 10u);
	EXPECT_EQ(outbox.acknowledged_messages(), 5u);
	auto next = outbox.next();
	ASSERT_TRUE(next);
	EXPECT_FALSE(next->first_of_batch);
	EXPECT_EQ(send_all(outbox), "6@105 ");
	ASSERT_TRUE(outbox.resume(tail_of(105, 5)).ok());
	EXPECT_EQ(send_all(outbox), "6@105 ");
	ASSERT_TRUE(outbox.resume(tail_of(106, 6)).ok());
	EXPECT_EQ(outbox.complete_up_to(), 20u);
	EXPECT_FALSE(outbox.next());
}

TEST(Outbox, FindsItsTailAmongWhatItHasNotSentAgain)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	outbox.add(batch_of(1, 4));
	send_all(outbox);
	ASSERT_TRUE(outbox.resume({}).ok());
	outbox.sent();
	ASSERT_TRUE(outbox.resume(tail_of(3, 3)).ok());
	EXPECT_EQ(send_all(outbox), "4@3 ");
}

TEST(Outbox, RefusesATailThatIsNotIts)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume(tail_of(10, 1)).ok());
	outbox.add(batch_of(2, 3));
	send_all(outbox);
	outbox.acknowledged(11);
	const StreamTail bad[] = {
		tail_of(10, 1),						 // went back
		{0, {}},							 // made anew
		tail_of(11, 9),						 // our last message replaced
		{12, {}},							 // somebody's
		tail_of(12, 4),						 // ours, but not there
		tail_of(14, 4),						 // beyond all we have
		{12, MessageId{{7, "1-2"}, {3, 0}}}, // another history
		{12, MessageId{{8, "1-1"}, {3, 0}}},
	};
	for (const StreamTail &tail : bad) {
		auto status = outbox.resume(tail);
		ASSERT_FALSE(status.ok()) << tail.sequence;
		EXPECT_STREQ(status.error().sqlstate, tail.sequence < 11 ? "XX001" : "55000");
		EXPECT_EQ(outbox.acknowledged_sequence(), 11u);
		EXPECT_EQ(outbox.unacknowledged_messages(), 2u);
		EXPECT_EQ(outbox.sent_sequence(), 13u);
	}
	ASSERT_TRUE(outbox.resume({11, {}}).ok()) << "where we know it to be, its message expired";
	ASSERT_TRUE(outbox.resume(tail_of(12, 3)).ok());
	EXPECT_EQ(send_all(outbox), "4@12 ");
}

// Transactions by the number of their messages: "2 1" is two messages of one and one of another.
std::unique_ptr<Batch> transactions(Lsn first, std::initializer_list<int> sizes, bool breaks_off = false)
{
	auto batch = std::make_unique<Batch>();
	for (int size : sizes) {
		for (int i = 0; i < size; i++) {
			batch->begin("s", ours, {first, static_cast<std::uint64_t>(i)});
			batch->payload().append("0123456789");
			batch->end();
		}
		first++;
	}
	batch->breaks_off(breaks_off);
	return batch;
}

std::string group(const Outbox &outbox, std::uint64_t messages, std::size_t bytes = 1 << 20,
				  std::size_t memory = 1 << 20)
{
	auto found = outbox.next_group({messages, bytes, memory});
	return std::to_string(found.messages) + (found.is_whole ? " whole" : "");
}

TEST(Outbox, GroupsWholeTransactions)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	EXPECT_EQ(group(outbox, 10), "0");
	outbox.add(transactions(1, {2, 1, 3}, true));
	EXPECT_EQ(group(outbox, 10), "3 whole"); // the third may go on
	EXPECT_EQ(group(outbox, 3), "3 whole");
	EXPECT_EQ(group(outbox, 2), "2 whole");
	EXPECT_EQ(group(outbox, 1), "2"); // too large: all of it, as it is
	outbox.add(transactions(3, {1, 4}));
	EXPECT_EQ(group(outbox, 10), "7 whole");
	EXPECT_EQ(group(outbox, 11), "11 whole");
	for (int i = 0; i < 3; i++)
		outbox.sent();
	EXPECT_EQ(group(outbox, 5), "4 whole");
	EXPECT_EQ(group(outbox, 3), "4"); // too large, and what follows does not belong to it
}

TEST(Outbox, WaitsForTheRestOfATransactionUnlessItIsTooLarge)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	auto batch = transactions(1, {4}, true);
	std::size_t size = batch->bytes();
	outbox.add(std::move(batch));
	EXPECT_EQ(group(outbox, 4), "0");
	EXPECT_EQ(group(outbox, 3), "4");
	EXPECT_EQ(group(outbox, 4, size), "0");
	EXPECT_EQ(group(outbox, 4, size - 1), "4"); // no more may come while so much is unacknowledged
}

// What is stored of a batch counts until all of it is.
TEST(Outbox, DoesNotWaitForWhatCannotCome)
{
	Outbox outbox(ours);
	ASSERT_TRUE(outbox.resume({}).ok());
	auto batch = transactions(1, {2, 2}, true);
	std::size_t size = batch->bytes();
	outbox.add(std::move(batch));
	EXPECT_EQ(group(outbox, 4, size, size), "2 whole");
	outbox.sent();
	outbox.sent();
	EXPECT_EQ(group(outbox, 4, size, size), "0");
	outbox.acknowledged(2);
	EXPECT_EQ(group(outbox, 4, size, size), "0");
	EXPECT_EQ(group(outbox, 4, size, size - 1), "2"); // nothing more is handed over
}

TEST(Outbox, GroupsWhatIsLeftOfATransaction)
{
	Outbox outbox(ours);
	outbox.add(transactions(1, {3, 1}));
	ASSERT_TRUE(outbox.resume({}).ok());
	outbox.sent();
	EXPECT_EQ(group(outbox, 2), "2 whole");
}

} // namespace
} // namespace pgbraid::core
