#include "nats_stream_reader.h"

#include "nats/stream.h"

namespace pgbraid::test {
namespace {

using nats::StreamConfig;

class NatsStream : public NatsTest {
protected:
	void SetUp() override
	{
		NatsTest::SetUp();
		if (IsSkipped())
			return;
		server_.emplace();
		connection_ = open(at(server_->url()));
		api(*connection_, "INFO");
	}
	std::vector<std::string> subjects(const std::string &name)
	{
		auto config = nats::json_member(info_ = api(*connection_, "STREAM.INFO." + name), "config");
		return nats::json_strings(nats::json_member(config, "subjects"));
	}
	std::string setting(const std::string &name) const
	{
		return std::string(nats::json_member(nats::json_member(info_, "config"), name));
	}

	std::optional<NatsServer> server_;
	std::optional<nats::Connection> connection_;
	std::string info_;
};

using List = std::vector<std::string>;

TEST_F(NatsStream, IsMadeOnce)
{
	StreamConfig config{"S", "pgbraid: flow \"f\"", {"a.b", "a.>", "c.*"}, 1};
	for (int i = 0; i < 2; i++) {
		auto status = ensure_stream(*connection_, config);
		ASSERT_TRUE(status.ok()) << status.error().message;
	}
	EXPECT_EQ(subjects("S"), (List{"a.>", "c.*"}));
	EXPECT_EQ(setting("description"), "\"pgbraid: flow \\\"f\\\"\"");
	EXPECT_EQ(setting("storage"), "\"file\"");
	EXPECT_EQ(setting("retention"), "\"limits\"");
	EXPECT_EQ(setting("discard"), "\"old\"");
	EXPECT_EQ(setting("duplicate_window"), "120000000000");
	EXPECT_EQ(setting("num_replicas"), "1");
}

TEST_F(NatsStream, IsWidenedWhenOurs)
{
	StreamConfig config{"S", "pgbraid test", {"a.b"}, 1};
	ASSERT_TRUE(ensure_stream(*connection_, config).ok());
	api(*connection_, "STREAM.UPDATE.S",
		R"({"name":"S","description":"pgbraid test","subjects":["a.b"],"max_msgs":5000,"storage":"file","num_replicas":1})");
	config.subjects = {"a.c", "a.b", "x.>"};
	ASSERT_TRUE(ensure_stream(*connection_, config).ok());
	EXPECT_EQ(subjects("S"), (List{"a.b", "a.c", "x.>"}));
	EXPECT_EQ(setting("max_msgs"), "5000"); // what somebody changed stays
	config.subjects = {"a.*"};
	ASSERT_TRUE(ensure_stream(*connection_, config).ok());
	EXPECT_EQ(subjects("S"), (List{"x.>", "a.*"}));
}

TEST_F(NatsStream, OfSomebodyElseIsLeftAlone)
{
	api(*connection_, "STREAM.CREATE.S", R"({"name":"S","subjects":["a.>"],"storage":"memory","num_replicas":1})");
	EXPECT_TRUE(ensure_stream(*connection_, {"S", "pgbraid test", {"a.b.c"}, 1}).ok());
	auto status = ensure_stream(*connection_, {"S", "pgbraid test", {"a.b", "b.c"}, 1});
	ASSERT_FALSE(status.ok());
	EXPECT_STREQ(status.error().sqlstate, "55000");
	EXPECT_NE(status.error().message.find("does not listen on \"b.c\""), std::string::npos) << status.error().message;
	EXPECT_FALSE(status.error().hint.empty());
	EXPECT_EQ(subjects("S"), (List{"a.>"}));
}

TEST_F(NatsStream, NamesTheStreamThatHasTheSubjects)
{
	api(*connection_, "STREAM.CREATE.OTHER",
		R"({"name":"OTHER","subjects":["a.>"],"storage":"file","num_replicas":1})");
	auto status = ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 1});
	ASSERT_FALSE(status.ok());
	EXPECT_STREQ(status.error().sqlstate, "55000");
	EXPECT_NE(status.error().message.find("stream \"OTHER\""), std::string::npos) << status.error().message;
	ASSERT_TRUE(ensure_stream(*connection_, {"S", "pgbraid test", {"b.c"}, 1}).ok());
	status = ensure_stream(*connection_, {"S", "pgbraid test", {"b.c", "a.b"}, 1});
	ASSERT_FALSE(status.ok());
	EXPECT_NE(status.error().message.find("stream \"OTHER\""), std::string::npos) << status.error().message;
}

TEST_F(NatsStream, HasATail)
{
	ASSERT_TRUE(ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 1}).ok());
	auto tail = read_tail(*connection_, "S");
	ASSERT_TRUE(tail.ok());
	EXPECT_EQ(tail->sequence, 0u);
	EXPECT_FALSE(tail->last);
	ASSERT_TRUE(connection_->request("a.b", "no id").ok());
	tail = read_tail(*connection_, "S");
	ASSERT_TRUE(tail.ok());
	EXPECT_EQ(tail->sequence, 1u);
	EXPECT_FALSE(tail->last);
	api(*connection_, "STREAM.PURGE.S");
	tail = read_tail(*connection_, "S");
	ASSERT_TRUE(tail.ok());
	EXPECT_EQ(tail->sequence, 1u);
	EXPECT_FALSE(tail->last);
	EXPECT_STREQ(read_tail(*connection_, "ABSENT").error().sqlstate, "55000");
}

TEST_F(NatsStream, IsReadFromASequenceOn)
{
	ASSERT_TRUE(ensure_stream(*connection_, {"S", "pgbraid test", {"a.b", "c"}, 1}).ok());
	for (const char *subject : {"a.b", "c", "a.b"})
		ASSERT_TRUE(connection_->request(subject, "m").ok());
	auto sequence_from = [this](std::uint64_t sequence) {
		auto message = read_message(*connection_, "S", sequence);
		EXPECT_TRUE(message.ok());
		return message.ok() && *message ? (*message)->sequence : 0;
	};
	EXPECT_EQ(sequence_from(2), 2u);
	api(*connection_, "STREAM.MSG.DELETE.S", R"({"seq":2})");
	EXPECT_EQ(sequence_from(2), 3u) << "the next one, where it was taken out";
	EXPECT_EQ(sequence_from(3), 3u);
	EXPECT_EQ(sequence_from(4), 0u);
	EXPECT_STREQ(read_message(*connection_, "ABSENT", 1).error().sqlstate, "55000");
}

TEST_F(NatsStream, RefusesWhatTheServerRefuses)
{
	auto status = ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 3});
	ASSERT_FALSE(status.ok());
	EXPECT_NE(status.error().message.find("replicas"), std::string::npos) << status.error().message;
	server_->configure("jetstream { store_dir: \"$DIR/js\", max_file_store: 1 }\n"
					   "accounts { A { users: [ { user: u, password: p } ], jetstream: { max_streams: 1 } } }");
	auto options = at(server_->url());
	options.user = "u";
	options.password = "p";
	connection_ = open(options);
	api(*connection_, "INFO");
	ASSERT_TRUE(ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 1}).ok());
	status = ensure_stream(*connection_, {"T", "pgbraid test", {"a.c"}, 1});
	ASSERT_FALSE(status.ok());
	EXPECT_STREQ(status.error().sqlstate, "53100") << status.error().message;
	EXPECT_FALSE(status.error().hint.empty());
}

TEST_F(NatsStream, NeedsJetStream)
{
	server_->configure("");
	connection_ = open(at(server_->url()));
	auto status = ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 1});
	ASSERT_FALSE(status.ok());
	EXPECT_STREQ(status.error().sqlstate, "0A000");
	EXPECT_NE(status.error().hint.find("-js"), std::string::npos);
	EXPECT_STREQ(jetstream_account(*connection_).error().sqlstate, "0A000");
}

TEST_F(NatsStream, NeedsPermission)
{
	for (std::string permissions : {"publish: \"a.b\"", "subscribe: \"a.b\""}) {
		server_->configure("jetstream { store_dir: \"$DIR/js\" }\nauthorization { users: [ { user: u, password: p, "
						   "permissions: { " +
						   permissions + " } } ] }");
		auto options = at(server_->url());
		options.user = "u";
		options.password = "p";
		connection_ = open(options);
		auto begin = std::chrono::steady_clock::now();
		auto status = ensure_stream(*connection_, {"S", "pgbraid test", {"a.b"}, 1});
		ASSERT_FALSE(status.ok());
		EXPECT_STREQ(status.error().sqlstate, "42501") << status.error().message;
		EXPECT_NE(status.error().hint.find("Allow this user to "), std::string::npos) << status.error().hint;
		EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(1000));
	}
}

TEST_F(NatsStream, DescribesTheAccount)
{
	auto account = jetstream_account(*connection_);
	ASSERT_TRUE(account.ok());
	EXPECT_EQ(*account, "storage 0 of unlimited bytes, memory 0 of unlimited bytes, streams 0 of unlimited, "
						"consumers 0 of unlimited");
}

} // namespace
} // namespace pgbraid::test
