#include "nats/mailbox.h"

#include <gtest/gtest.h>
#include <thread>

namespace pgbraid::nats {
namespace {

using std::chrono::milliseconds;

std::atomic<bool> cleaned_up = false;

struct SlowCleanup {
	~SlowCleanup()
	{
		std::this_thread::sleep_for(milliseconds(100));
		cleaned_up = true;
	}
	void touch() {}
};

// What OpenSSL does at the end of a thread must be over before the process may exit.
TEST(NatsMailbox, WaitsForTheThreadLocalDestructorsOfItsThreads)
{
	auto mailbox = std::make_shared<Mailbox>(-1);
	mailbox->run([mailbox] {
		thread_local SlowCleanup cleanup;
		cleanup.touch();
	});
	EXPECT_TRUE(mailbox->stop(milliseconds(5000)));
	EXPECT_TRUE(cleaned_up);
	EXPECT_EQ(mailbox->threads(), 0u);
}

TEST(NatsMailbox, LeavesAThreadThatDoesNotEnd)
{
	auto go = std::make_shared<std::atomic<bool>>(false);
	auto mailbox = std::make_shared<Mailbox>(-1);
	std::weak_ptr<Mailbox> alive = mailbox;
	mailbox->run([mailbox, go] {
		while (!*go)
			std::this_thread::sleep_for(milliseconds(1));
	});
	EXPECT_FALSE(mailbox->stop(milliseconds(20)));
	mailbox.reset();
	EXPECT_FALSE(alive.expired()); // kept by the thread, which ends on its own
	*go = true;
	for (int i = 0; i < 1000 && !alive.expired(); i++)
		std::this_thread::sleep_for(milliseconds(5));
	EXPECT_TRUE(alive.expired());
}

} // namespace
} // namespace pgbraid::nats
