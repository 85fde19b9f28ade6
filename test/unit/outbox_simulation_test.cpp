// The outbox against a model of a server that stores only what follows its last message, over connections that lose
// messages and acknowledgements, and end while what they carry is still under way.
#include "core/flow/outbox.h"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace pgbraid::core {
namespace {

const History ours{7, "1-1"};
constexpr std::uint64_t all_messages = 40;

struct Packet {
	std::string id;
	std::uint64_t expected;
};

struct Connection {
	std::deque<Packet> packets;
	std::deque<std::uint64_t> acknowledgements;
	bool refused = false;
};

struct Broker {
	std::vector<std::string> log;

	void receive(Connection &from)
	{
		Packet packet = from.packets.front();
		from.packets.pop_front();
		if (packet.expected != log.size()) {
			from.refused = true;
			return;
		}
		log.push_back(packet.id);
		from.acknowledgements.push_back(log.size());
	}

	StreamTail tail() const { return {log.size(), log.empty() ? std::nullopt : parse_message_id(log.back())}; }
};

class Simulation {
public:
	explicit Simulation(unsigned seed) : random_(seed)
	{
		for (auto left = random_() % 4; left > 0; left--)
			broker_.log.push_back("7.1-1.0000000000000000." + std::to_string(left));
		expected_ = broker_.log;
		connections_.emplace_back();
		EXPECT_TRUE(reconnect().ok());
	}

	bool done() const { return produced_ == all_messages && outbox_.unacknowledged_messages() == 0; }

	// One thing happens. An error is the outbox's.
	Status step()
	{
		switch (random_() % 16) {
			case 0: produce(); break;
			case 1: return chance(5) ? reconnect() : Nothing{};
			case 2: lose(); break;
			case 3: return notice();
			case 4:
			case 5:
			case 6:
			case 7:
			case 8: send(); break;
			case 9:
			case 10:
			case 11:
			case 12: deliver(any_connection()); break;
			default: acknowledge();
		}
		check();
		return Nothing{};
	}

	void finish()
	{
		while (deliver(any_connection()) || any_packets()) {
		}
		EXPECT_EQ(broker_.log, expected_);
		EXPECT_EQ(outbox_.unacknowledged_bytes(), 0u);
		EXPECT_EQ(outbox_.acknowledged_sequence(), expected_.size());
		EXPECT_EQ(outbox_.complete_up_to(), completion_.empty() ? 0 : completion_.back().second);
		EXPECT_FALSE(outbox_.next());
	}

	// Everything under way is gone, then the log is changed: the next tail must give it away.
	Status tamper(const std::function<void(std::vector<std::string> &)> &change)
	{
		connections_.clear();
		connections_.emplace_back();
		change(broker_.log);
		return outbox_.resume(broker_.tail());
	}

	Outbox &outbox() { return outbox_; }

private:
	bool chance(unsigned one_in) { return random_() % one_in == 0; }
	Connection &any_connection() { return connections_[random_() % connections_.size()]; }

	bool any_packets() const
	{
		return std::any_of(connections_.begin(), connections_.end(), [](auto &c) { return !c.packets.empty(); });
	}

	void produce()
	{
		auto batch = std::make_unique<Batch>();
		for (auto left = random_() % 6; left > 0 && produced_ < all_messages; left--) {
			batch->begin("s", ours, {++produced_, random_() % 3});
			batch->end();
			expected_.emplace_back((*batch)[batch->size() - 1].id);
		}
		batch->complete_up_to(++lsn_);
		completion_.emplace_back(expected_.size(), lsn_);
		outbox_.add(std::move(batch));
	}

	void send()
	{
		auto next = outbox_.next();
		if (!next)
			return;
		connections_.back().packets.push_back({std::string{next->message.id}, next->expected_sequence});
		outbox_.sent();
	}

	bool deliver(Connection &connection)
	{
		if (connection.packets.empty())
			return false;
		broker_.receive(connection);
		return true;
	}

	void lose()
	{
		Connection &connection = any_connection();
		if (!connection.packets.empty() && chance(2))
			connection.packets.erase(connection.packets.begin() +
									 static_cast<std::ptrdiff_t>(random_() % connection.packets.size()));
		if (!connection.acknowledgements.empty() && chance(2))
			connection.acknowledgements.pop_back();
	}

	// Acknowledgements of connections that are gone may come as well.
	void acknowledge()
	{
		auto &queue = any_connection().acknowledgements;
		if (queue.empty())
			return;
		outbox_.acknowledged(queue.front());
		queue.pop_front();
	}

	// A refusal, or silence while something is not acknowledged.
	Status notice()
	{
		Connection &connection = connections_.back();
		bool silent = !outbox_.next() && connection.packets.empty() && connection.acknowledgements.empty();
		if (connection.refused || (silent && outbox_.unacknowledged_messages() > 0))
			return reconnect();
		return Nothing{};
	}

	// What the old connections carry may still be stored before, between and after the reading of the tail.
	Status reconnect()
	{
		while (chance(3))
			deliver(any_connection());
		auto tail = broker_.tail();
		while (chance(3))
			deliver(any_connection());
		connections_.emplace_back();
		if (connections_.size() > 4)
			connections_.pop_front();
		return outbox_.resume(tail);
	}

	// Never may more be called stored than is.
	void check()
	{
		auto stored = broker_.log.size();
		EXPECT_LE(outbox_.acknowledged_sequence(), stored);
		EXPECT_TRUE(stored <= expected_.size() &&
					std::equal(broker_.log.begin(), broker_.log.end(), expected_.begin()));
		for (auto [messages, lsn] : completion_)
			EXPECT_TRUE(lsn > outbox_.complete_up_to() || messages <= stored);
	}

	std::mt19937 random_;
	Broker broker_;
	std::deque<Connection> connections_;
	Outbox outbox_{ours};
	std::vector<std::string> expected_;
	std::vector<std::pair<std::size_t, Lsn>> completion_; // length of the log that makes it true, LSN
	std::uint64_t produced_ = 0;
	Lsn lsn_ = 0;
};

// Runs until all is stored, or for `steps`.
void run(Simulation &simulation, unsigned steps)
{
	for (; steps > 0 && !simulation.done() && !testing::Test::HasFailure(); steps--) {
		auto status = simulation.step();
		ASSERT_TRUE(status.ok()) << status.error().message << ": " << status.error().detail;
	}
}

TEST(OutboxSimulation, EndsWithEveryMessageOnceInOrder)
{
	for (unsigned seed = 0; seed < 5000 && !HasFailure(); seed++) {
		SCOPED_TRACE(seed);
		Simulation simulation(seed);
		run(simulation, 100000);
		ASSERT_TRUE(simulation.done());
		simulation.finish();
	}
}

TEST(OutboxSimulation, NoticesLostMessages)
{
	unsigned tried = 0;
	for (unsigned seed = 0; seed < 2000 && !HasFailure(); seed++) {
		SCOPED_TRACE(seed);
		Simulation simulation(seed);
		run(simulation, 50 + seed % 400);
		if (simulation.outbox().acknowledged_messages() == 0)
			continue;
		tried++;
		auto status =
			simulation.tamper([&](auto &log) { log.resize(simulation.outbox().acknowledged_sequence() - 1); });
		ASSERT_FALSE(status.ok());
		EXPECT_STREQ(status.error().sqlstate, "XX001");
		EXPECT_NE(status.error().message.find("lost"), std::string::npos);
	}
	EXPECT_GT(tried, 1000u);
}

TEST(OutboxSimulation, NoticesForeignMessages)
{
	for (unsigned seed = 0; seed < 2000 && !HasFailure(); seed++) {
		SCOPED_TRACE(seed);
		Simulation simulation(seed);
		run(simulation, seed % 400);
		auto status =
			simulation.tamper([&](auto &log) { log.push_back(seed % 2 == 0 ? "" : "7.1-2.0000000000000001.1"); });
		ASSERT_FALSE(status.ok());
		EXPECT_STREQ(status.error().sqlstate, "55000");
		EXPECT_NE(status.error().message.find("not sent by this flow"), std::string::npos);
	}
}

} // namespace
} // namespace pgbraid::core
