#include "nats_driver.h"

namespace pgbraid::test {
namespace {

using State = nats::Publisher::State;

class NatsPublisher : public NatsTest {
protected:
	void SetUp() override
	{
		NatsTest::SetUp();
		if (!IsSkipped())
			server_.emplace();
	}
	std::optional<NatsServer> server_;
};

TEST_F(NatsPublisher, StoresBatchesInOrder)
{
	Driver driver(publisher_options(server_->url()));
	for (int i = 0; i < 300; i++)
		driver.submit(1 + static_cast<std::size_t>(i % 40), i % 2 == 0 ? "t.a" : "t.b.c");
	ASSERT_TRUE(driver.wait_acknowledged());
	auto progress = driver.progress();
	EXPECT_EQ(progress.state, State::ready);
	EXPECT_TRUE(progress.healthy);
	EXPECT_EQ(progress.errors, 0u);
	EXPECT_FALSE(progress.error);
	EXPECT_EQ(progress.unacknowledged_bytes, 0u);
	EXPECT_EQ(progress.unacknowledged_messages, 0u);
	EXPECT_EQ(progress.complete_up_to, 1000 + driver.submitted());
	EXPECT_EQ(progress.connected_url, server_->url());
	ASSERT_TRUE(progress.tail);
	EXPECT_EQ(progress.tail->sequence, 0u);
	expect_exactly(open(at(server_->url())), driver.submitted());
}

TEST_F(NatsPublisher, WritesTheHeaders)
{
	auto options = publisher_options(server_->url());
	{
		Driver driver(options);
		driver.headers = "Pgbraid-Op: insert\r\nOther: a: b\r\n";
		driver.submit(1);
		ASSERT_TRUE(driver.wait_acknowledged());
	}
	auto connection = open(at(server_->url()));
	auto first = stored(connection, "S", 1);
	EXPECT_EQ(first.subject, "t.a");
	EXPECT_NE(first.headers.find("Nats-Msg-Id: 7000000000000000001.1-1.00000000000003E9.1\r\n"), std::string::npos)
		<< first.headers;
	EXPECT_NE(first.headers.find("Nats-Expected-Last-Sequence: 0\r\n"), std::string::npos);
	EXPECT_NE(first.headers.find("Pgbraid-Op: insert\r\n"), std::string::npos);
	EXPECT_NE(first.headers.find("Other: a: b\r\n"), std::string::npos);

	options.message_id = false;
	Driver driver(options);
	driver.count_from(1);
	driver.submit(1);
	ASSERT_TRUE(driver.wait([](auto &p) { return p.acknowledged_messages == 1; }));
	auto second = stored(connection, "S", 2);
	EXPECT_NE(second.headers.find("Pgbraid-Id: "), std::string::npos);
	EXPECT_EQ(second.headers.find("Nats-Msg-Id"), std::string::npos);
	EXPECT_EQ(second.headers.find("Pgbraid-Op"), std::string::npos);
}

TEST_F(NatsPublisher, FindsTheTailAgain)
{
	for (int i = 0; i < 3; i++) {
		Driver driver(publisher_options(server_->url()));
		ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::ready; }));
		auto tail = driver.progress().tail;
		ASSERT_TRUE(tail);
		EXPECT_EQ(tail->sequence, static_cast<std::uint64_t>(i) * 100);
		if (i > 0) {
			ASSERT_TRUE(tail->last);
			EXPECT_EQ(tail->last->history, history);
			EXPECT_EQ(tail->last->position.lsn, 1000 + tail->sequence);
		}
		driver.count_from(tail->sequence);
		driver.submit(100);
		ASSERT_TRUE(driver.wait([](auto &p) { return p.acknowledged_messages == 100; }));
	}
	expect_exactly(open(at(server_->url())), 300);
}

TEST_F(NatsPublisher, AcknowledgesAnEmptyBatch)
{
	Driver driver(publisher_options(server_->url()));
	auto batch = std::make_unique<core::Batch>();
	batch->complete_up_to(77);
	driver.publisher().submit(std::move(batch));
	EXPECT_TRUE(driver.wait([](auto &p) { return p.complete_up_to == 77; }));
}

TEST_F(NatsPublisher, SendsLargeMessages)
{
	Driver driver(publisher_options(server_->url()));
	for (int i = 0; i < 40; i++)
		driver.submit(1, "t.a", 900000);
	ASSERT_TRUE(driver.wait_acknowledged());
	expect_exactly(open(at(server_->url())), 40);
}

TEST_F(NatsPublisher, IsBrokenByAMessageAboveMaxPayload)
{
	server_->configure("jetstream { store_dir: \"$DIR/js\" }\nmax_payload: 2000");
	Driver driver(publisher_options(server_->url()));
	driver.submit(10);
	driver.submit(1, "t.large", 2500);
	ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::broken; }));
	auto progress = driver.progress();
	EXPECT_STREQ(progress.error->sqlstate, "54000");
	EXPECT_NE(progress.error->message.find("2500"), std::string::npos) << progress.error->message;
	EXPECT_NE(progress.error->message.find("t.large"), std::string::npos);
	EXPECT_NE(progress.error->hint.find("max_payload"), std::string::npos);
	EXPECT_FALSE(progress.healthy);
	EXPECT_EQ(last_sequence(open(at(server_->url())), "S"), 10u);
}

TEST_F(NatsPublisher, IsBrokenByAnIllegalSubject)
{
	for (auto subject : {"t..a", "t.*", "t.>", "t.a b", ".a", "a."}) {
		Driver driver(publisher_options(server_->url()));
		driver.submit(1, subject);
		ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::broken; })) << subject;
		EXPECT_STREQ(driver.progress().error->sqlstate, "22023");
	}
}

TEST_F(NatsPublisher, WidensTheStream)
{
	auto options = publisher_options(server_->url());
	options.stream.subjects = {"first.a"};
	Driver driver(options);
	driver.submit(5, "first.a");
	for (std::string table : {"x", "y", "z"}) {
		auto batch = driver.batch(3, "more." + table);
		batch->require_subject("more." + table);
		driver.publisher().submit(std::move(batch));
	}
	ASSERT_TRUE(driver.wait_acknowledged());
	EXPECT_EQ(driver.progress().errors, 0u);
	auto connection = open(at(server_->url()));
	expect_exactly(connection, 14);
	auto info = api(connection, "STREAM.INFO.S");
	EXPECT_EQ(nats::json_strings(nats::json_member(nats::json_member(info, "config"), "subjects")),
			  (std::vector<std::string>{"first.a", "more.x", "more.y", "more.z"}));
}

TEST_F(NatsPublisher, ReportsAFullStreamAndGoesOnWhenThereIsRoom)
{
	auto connection = open(at(server_->url()));
	auto config = [](int most) {
		return "{\"name\":\"S\",\"subjects\":[\"t.>\"],\"storage\":\"file\",\"discard\":\"new\",\"max_msgs\":" +
			   std::to_string(most) + ",\"num_replicas\":1}";
	};
	api(connection, "STREAM.CREATE.S", config(7));
	Driver driver(publisher_options(server_->url()));
	for (int i = 0; i < 10; i++)
		driver.submit(3);
	ASSERT_TRUE(driver.wait_error("53100"));
	auto progress = driver.progress();
	EXPECT_NE(progress.error->message.find("maximum messages exceeded"), std::string::npos) << progress.error->message;
	EXPECT_FALSE(progress.error->hint.empty());
	EXPECT_FALSE(progress.healthy);
	EXPECT_EQ(progress.state, State::ready);
	api(connection, "STREAM.UPDATE.S", config(1000));
	ASSERT_TRUE(driver.wait_acknowledged());
	EXPECT_TRUE(driver.wait([](auto &p) { return p.healthy; }));
	EXPECT_GT(driver.progress().retries, 0u);
	expect_exactly(connection, 30);
}

TEST_F(NatsPublisher, ReportsTheCulpritOfARefusal)
{
	auto connection = open(at(server_->url()));
	api(connection, "STREAM.CREATE.S",
		R"({"name":"S","subjects":["t.>"],"storage":"file","max_msg_size":500,"num_replicas":1})");
	Driver driver(publisher_options(server_->url()));
	driver.submit(20);
	driver.submit(1, "t.a", 1000);
	driver.submit(20);
	EXPECT_TRUE(driver.wait_error("54000")) << driver.progress().error->message;
	EXPECT_EQ(last_sequence(connection, "S"), 20u);
	EXPECT_TRUE(driver.wait([](auto &p) { return p.state == State::broken; })); // whoever comes next asks for the limit
	EXPECT_EQ(driver.progress().max_payload, 500u);
	EXPECT_EQ(driver.progress().acknowledged_messages, 20u);
}

TEST_F(NatsPublisher, IsBrokenWhenSomebodyElseWrites)
{
	Driver driver(publisher_options(server_->url()));
	driver.submit(10);
	ASSERT_TRUE(driver.wait_acknowledged());
	auto connection = open(at(server_->url()));
	auto intruded = connection.request("t.a", "an intruder");
	ASSERT_TRUE(intruded.ok());
	EXPECT_EQ(nats::json_number(nats::json_member(intruded->data, "seq")), 11u);
	driver.submit(10);
	ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::broken; }));
	EXPECT_STREQ(driver.progress().error->sqlstate, "55000");
	EXPECT_EQ(last_sequence(connection, "S"), 11u);
}

TEST_F(NatsPublisher, IsBrokenWhenTheStreamWasDeleted)
{
	Driver driver(publisher_options(server_->url()));
	driver.submit(10);
	ASSERT_TRUE(driver.wait_acknowledged());
	api(open(at(server_->url())), "STREAM.DELETE.S");
	driver.submit(10);
	ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::broken; }));
	EXPECT_STREQ(driver.progress().error->sqlstate, "XX001");
}

TEST_F(NatsPublisher, ReportsAForbiddenSubject)
{
	server_->configure("jetstream { store_dir: \"$DIR/js\" }\nauthorization { users: [ { user: u, password: p, "
					   "permissions: { publish: { allow: [\"$JS.API.>\", \"t.a\"] }, subscribe: \"_INBOX.>\" } } ] }");
	auto options = publisher_options(server_->url());
	options.connection.user = "u";
	options.connection.password = "p";
	Driver driver(options);
	driver.submit(5);
	ASSERT_TRUE(driver.wait_acknowledged());
	auto begin = std::chrono::steady_clock::now();
	driver.submit(5, "t.b");
	ASSERT_TRUE(driver.wait_error("42501"));
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(2000));
	EXPECT_NE(driver.progress().error->hint.find("publish to \"t.b\""), std::string::npos)
		<< driver.progress().error->hint;
}

TEST_F(NatsPublisher, StopsAtOnceWhenIdleAndWhenBusy)
{
	for (int messages : {0, 20000}) {
		Driver driver(publisher_options(server_->url()));
		ASSERT_TRUE(driver.wait([](auto &p) { return p.state == State::ready; }));
		for (int i = 0; i < messages; i += 100)
			driver.submit(100);
		auto begin = std::chrono::steady_clock::now();
		EXPECT_TRUE(driver.publisher().stop(milliseconds(1000)));
		EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(300));
		EXPECT_TRUE(driver.publisher().stop(milliseconds(0)));
	}
}

TEST_F(NatsPublisher, BlocksAllSignalsOnEveryThread)
{
	Driver driver(publisher_options(server_->url()));
	driver.submit(1);
	ASSERT_TRUE(driver.wait_acknowledged());
	int blocked = 0;
	for (auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
		if (task.path().filename() == std::to_string(getpid()))
			continue;
		std::ifstream status(task.path() / "status");
		for (std::string line; std::getline(status, line);) {
			if (line.starts_with("SigBlk:")) {
				// All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
				EXPECT_EQ(line.substr(line.find_last_not_of("0123456789abcdef") + 1), "fffffffe7ffbfeff")
					<< task.path();
				blocked++;
			}
		}
	}
	EXPECT_GE(blocked, 1);
}

} // namespace
} // namespace pgbraid::test
