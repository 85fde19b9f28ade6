#include "nats/courier.h"

#include "nats_driver.h"

#include <sys/eventfd.h>

namespace pgbraid::test {
namespace {

using nats::Connection;
using nats::Courier;

class NatsCourier : public NatsTest {
protected:
	void SetUp() override
	{
		NatsTest::SetUp();
		if (IsSkipped())
			return;
		server_.emplace();
		courier_.emplace(at(server_->url()), "test.inbox", event_);
		courier_->start();
	}
	~NatsCourier() override
	{
		if (courier_)
			courier_->stop(milliseconds(5000));
		close(event_);
	}

	// Sleeps as an owner does.
	template <typename F>
	bool until(F &&f) const
	{
		for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
			 std::chrono::steady_clock::now() < end;) {
			if (f())
				return true;
			pollfd fd{event_, POLLIN, 0};
			poll(&fd, 1, 100);
			eventfd_t ignored;
			eventfd_read(event_, &ignored);
		}
		return false;
	}

	// An application: connected, and listening.
	std::unique_ptr<Connection> application(const std::string &subject) const
	{
		auto opened = Connection::open(at(server_->url()));
		EXPECT_TRUE(opened.ok());
		auto connection = std::make_unique<Connection>(std::move(*opened));
		EXPECT_TRUE(connection->listen(subject).ok());
		EXPECT_TRUE(connection->request("test.flush", "").ok()); // so that the server knows
		return connection;
	}

	std::optional<NatsServer> server_;
	int event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	std::optional<Courier> courier_;
};

TEST_F(NatsCourier, CarriesMessagesBothWays)
{
	ASSERT_TRUE(until([&] { return courier_->condition().connected; }));
	auto app = application("jobs.a");
	courier_->send({{"jobs.a", "test.inbox", "Pgbraid-Run: 1\r\n", "offer"}});
	std::optional<Connection::Heard> offer;
	ASSERT_TRUE(until([&] {
		app->pump(milliseconds(50));
		offer = app->next_heard();
		return offer.has_value();
	}));
	EXPECT_EQ(offer->data, "offer");
	EXPECT_EQ(offer->reply, "test.inbox");
	ASSERT_TRUE(app->publish({"test.inbox", "reply.here", "", "picked"}).ok());
	app->flush();
	std::vector<Connection::Heard> heard;
	ASSERT_TRUE(until([&] { return !(heard = courier_->take(10)).empty(); }));
	EXPECT_EQ(heard[0].data, "picked");
	EXPECT_EQ(heard[0].reply, "reply.here");
}

TEST_F(NatsCourier, KeepsTheOrderAndTakesNoMoreThanAskedFor)
{
	ASSERT_TRUE(until([&] { return courier_->condition().connected; }));
	auto app = application("jobs.a");
	for (int i = 0; i < 100; i++)
		ASSERT_TRUE(app->publish({"test.inbox", "", "", std::to_string(i)}).ok());
	app->flush();
	int next = 0;
	ASSERT_TRUE(until([&] {
		auto heard = courier_->take(7);
		EXPECT_LE(heard.size(), 7u);
		for (auto &each : heard)
			EXPECT_EQ(each.data, std::to_string(next++));
		return next == 100;
	}));
}

TEST_F(NatsCourier, ConnectsAgainAndSaysWhatWasWrong)
{
	ASSERT_TRUE(until([&] { return courier_->condition().connections == 1; }));
	server_->crash();
	ASSERT_TRUE(until([&] { return !courier_->condition().connected; }));
	EXPECT_TRUE(courier_->condition().error.has_value());
	server_->start();
	ASSERT_TRUE(until([&] { return courier_->condition().connections == 2; }));
	auto app = application("jobs.a");
	ASSERT_TRUE(app->publish({"test.inbox", "", "", "again"}).ok());
	app->flush();
	ASSERT_TRUE(until([&] { return !courier_->take(1).empty(); }));
}

TEST_F(NatsCourier, StopsWhileNobodyIsThere)
{
	server_->crash();
	ASSERT_TRUE(until([&] { return courier_->condition().errors > 0; }));
	EXPECT_TRUE(courier_->stop(milliseconds(10000)));
}

} // namespace
} // namespace pgbraid::test
