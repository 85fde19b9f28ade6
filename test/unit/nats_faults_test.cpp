// The server and the network at their worst: every message still arrives once, in order.
#include "nats_driver.h"

#include <random>

namespace pgbraid::test {
namespace {

using State = nats::Publisher::State;

class NatsFaults : public NatsTest, public testing::WithParamInterface<bool> {
protected:
	nats::PublisherOptions options(const std::string &url) const
	{
		auto made = publisher_options(url);
		made.message_id = GetParam();
		made.connection.timeout = milliseconds(1000);
		made.ack_messages = 50;
		return made;
	}
};

class NatsSilence : public NatsTest {};

INSTANTIATE_TEST_SUITE_P(MessageId, NatsFaults, testing::Bool(),
						 [](auto &test) { return test.param ? "InHeader" : "Off"; });

// Submits while the condition holds, never more than a little ahead of the acknowledgements.
void load(Driver &driver, const std::function<bool()> &go_on, std::size_t batch = 20)
{
	while (go_on()) {
		driver.submit(batch);
		driver.wait([](auto &p) { return p.unacknowledged_messages < 400; }, milliseconds(50));
		std::this_thread::sleep_for(milliseconds(1));
	}
}

TEST_P(NatsFaults, SurvivesCrashesOfTheServer)
{
	NatsServer server;
	Driver driver(options(server.url()));
	std::minstd_rand random(42);
	std::atomic<bool> done = false;
	std::thread chaos([&] {
		for (int i = 0; i < 6; i++) {
			std::this_thread::sleep_for(milliseconds(100 + random() % 400));
			server.crash();
			std::this_thread::sleep_for(milliseconds(random() % 300));
			server.start();
		}
		done = true;
	});
	load(driver, [&] { return !done; });
	chaos.join();
	ASSERT_TRUE(driver.wait_acknowledged()) << driver.progress().error->message;
	EXPECT_GT(driver.progress().retries, 0u);
	EXPECT_TRUE(driver.wait([](auto &p) { return p.healthy; }));
	expect_exactly(open(at(server.url())), driver.submitted());
}

TEST_P(NatsFaults, SurvivesAServerThatStandsStill)
{
	NatsServer server;
	auto slow = options(server.url());
	slow.ack_timeout = milliseconds(2000);
	Driver driver(slow);
	driver.submit(100);
	ASSERT_TRUE(driver.wait_acknowledged());
	server.freeze();
	auto thaw = std::chrono::steady_clock::now() + std::chrono::seconds(7);
	load(driver, [&] { return std::chrono::steady_clock::now() < thaw; });
	auto progress = driver.progress();
	EXPECT_FALSE(progress.healthy);
	ASSERT_TRUE(progress.error);
	EXPECT_STREQ(progress.error->sqlstate, "08001") << progress.error->message;
	server.thaw();
	ASSERT_TRUE(driver.wait_acknowledged());
	expect_exactly(open(at(server.url())), driver.submitted());
}

TEST_P(NatsFaults, SurvivesConnectionsCutAnywhere)
{
	NatsServer server;
	Proxy proxy(server.port());
	auto cut = options(proxy.url());
	cut.retry_delay = cut.retry_delay_max = milliseconds(1);
	Driver driver(cut);
	// From within the handshake to after many messages.
	for (long budget = 50; budget < 60000; budget += 7 + budget / (budget < 2000 ? 40 : 10)) {
		proxy.budget(budget);
		int before = proxy.connections();
		load(
			driver, [&] { return proxy.connections() == before; }, 3);
	}
	proxy.budget(-1);
	ASSERT_TRUE(driver.wait_acknowledged()) << driver.progress().error->message;
	EXPECT_GT(driver.progress().retries, 100u);
	expect_exactly(open(at(server.url())), driver.submitted());
}

TEST_P(NatsFaults, WaitsForAServerThatIsNotThereYet)
{
	NatsServer server;
	server.crash();
	Driver driver(options(server.url()));
	driver.submit(10);
	ASSERT_TRUE(driver.wait_error("08001"));
	auto progress = driver.progress();
	EXPECT_EQ(progress.state, State::connecting);
	EXPECT_NE(progress.error->hint.find("pgbraid.nats_url"), std::string::npos);
	EXPECT_EQ(progress.unacknowledged_messages, 10u);
	server.start();
	ASSERT_TRUE(driver.wait_acknowledged());
	expect_exactly(open(at(server.url())), 10);
}

TEST_P(NatsFaults, TakesTheNextServerWhenOneIsAway)
{
	NatsServer server;
	auto two = options(server.url());
	two.connection.urls = {Listener().url(), server.url()};
	Driver driver(two);
	driver.submit(10);
	ASSERT_TRUE(driver.wait_acknowledged());
	EXPECT_EQ(driver.progress().errors, 0u);
	EXPECT_EQ(driver.progress().connected_url, server.url());
}

TEST_F(NatsSilence, StopsWithinThePatienceWhenTheServerIsABlackHole)
{
	Listener black_hole; // connects, since the kernel does, and says nothing
	auto options = publisher_options(black_hole.url());
	options.connection.timeout = milliseconds(1500);
	auto driver = std::make_unique<Driver>(options);
	std::this_thread::sleep_for(milliseconds(200));
	auto begin = std::chrono::steady_clock::now();
	EXPECT_FALSE(driver->publisher().stop(milliseconds(100)));
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(200));
	EXPECT_TRUE(driver->publisher().stop(milliseconds(5000))); // the attempt ends on its own
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(2500));
}

TEST_F(NatsSilence, StopsAtOnceWhenTheServerStandsStill)
{
	NatsServer server;
	Driver driver(publisher_options(server.url()));
	ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::ready; }));
	server.freeze();
	for (int i = 0; i < 100; i++)
		driver.submit(100, "t.a", 1000);
	std::this_thread::sleep_for(milliseconds(300));
	auto begin = std::chrono::steady_clock::now();
	EXPECT_TRUE(driver.publisher().stop(milliseconds(2000)));
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(300));
}

TEST_F(NatsSilence, StopsAtOnceBetweenAttempts)
{
	auto options = publisher_options(Listener().url());
	options.retry_delay = options.retry_delay_max = std::chrono::seconds(60);
	Driver driver(options);
	ASSERT_TRUE(driver.wait_error("08001"));
	auto begin = std::chrono::steady_clock::now();
	EXPECT_TRUE(driver.publisher().stop(milliseconds(2000)));
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(300));
}

// A server that greets and then says nothing: libnats before 3.7 never comes back from it.
TEST_F(NatsSilence, GivesUpAHandshakeThatHangs)
{
	Listener hanging;
	std::atomic<bool> done = false;
	std::thread greeter([&] {
		std::vector<int> clients;
		while (!done) {
			pollfd fd{hanging.fd(), POLLIN, 0};
			if (poll(&fd, 1, 20) <= 0)
				continue;
			clients.push_back(accept(hanging.fd(), nullptr, nullptr));
			std::string info =
				"INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"headers\":true,\"max_payload\":1048576}\r\n";
			send(clients.back(), info.data(), info.size(), MSG_NOSIGNAL);
		}
		for (int client : clients)
			close(client);
	});
	auto options = publisher_options(hanging.url());
	options.connection.timeout = milliseconds(300);
	{
		Driver driver(options);
		EXPECT_TRUE(driver.wait_error("08001"));
		auto begin = std::chrono::steady_clock::now();
		driver.publisher().stop(milliseconds(100));
		EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(200));
		done = true;
		greeter.join();
		EXPECT_TRUE(driver.publisher().stop(milliseconds(5000)));
	}
}

} // namespace
} // namespace pgbraid::test
