#include "core/flow/batch.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

const History history{12, "1-1"};

TEST(Batch, KeepsMessagesInOrder)
{
	Batch batch;
	std::string payload;
	for (std::uint64_t i = 0; i < 500; i++) {
		batch.begin("s." + std::to_string(i), history, {7, i}, i % 2 == 0 ? "A: 1\r\n" : "");
		payload += static_cast<char>('a' + i % 26);
		batch.payload().append(payload);
		batch.end();
	}
	ASSERT_EQ(batch.size(), 500u);
	for (std::uint64_t i = 0; i < 500; i++) {
		auto message = batch[i];
		EXPECT_EQ(message.subject, "s." + std::to_string(i));
		EXPECT_EQ(message.id, "12.1-1.0000000000000007." + std::to_string(i));
		EXPECT_EQ(message.payload, payload.substr(0, i + 1));
		EXPECT_EQ(message.position, (Position{7, i}));
		EXPECT_EQ(message.headers, i % 2 == 0 ? "A: 1\r\n" : "");
	}
}

TEST(Batch, CanBeEmptyAndStillCarryCompletionAndSubjects)
{
	Batch batch;
	EXPECT_TRUE(batch.empty());
	EXPECT_EQ(batch.complete_up_to(), 0u);
	batch.complete_up_to(99);
	batch.require_subject("a.*");
	batch.require_subject("b.>");
	EXPECT_TRUE(batch.empty());
	EXPECT_EQ(batch.bytes(), 0u);
	EXPECT_EQ(batch.complete_up_to(), 99u);
	EXPECT_EQ(batch.required_subjects(), (std::vector<std::string>{"a.*", "b.>"}));
}

} // namespace
} // namespace pgbraid::core
