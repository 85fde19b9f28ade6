#include "nats_driver.h"

#include "nats/nkey.h"

namespace pgbraid::test {
namespace {

using nats::Connection;

TEST(NatsUrl, SplitsAList)
{
	auto urls = nats::parse_urls(" nats://a:4222, tls://u:p@b ,nats://[::1]:1");
	ASSERT_TRUE(urls.ok());
	EXPECT_EQ(*urls, (std::vector<std::string>{"nats://a:4222", "tls://u:p@b", "nats://[::1]:1"}));
	EXPECT_EQ(nats::printable(*urls), "nats://a:4222, tls://b:4222, nats://[::1]:1");
	EXPECT_EQ(nats::printable({"nats://token@h", "h2"}), "nats://h:4222, nats://h2:4222");
}

TEST(NatsUrl, RefusesWhatIsNone)
{
	for (auto text : {"", " , ", "http://a", "nats://", "nats://a:b", "nats://a:0", "nats://a:70000", "nats://a b"}) {
		auto urls = nats::parse_urls(text);
		ASSERT_FALSE(urls.ok()) << text;
		EXPECT_STREQ(urls.error().sqlstate, "22023");
		EXPECT_FALSE(urls.error().hint.empty());
		EXPECT_EQ(urls.error().message.find("secret"), std::string::npos);
	}
}

// The example of NATS' documentation of nkeys.
constexpr const char *seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
constexpr const char *public_key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

TEST(NatsNkey, DerivesThePublicKey)
{
	auto key = nats::public_key(seed);
	ASSERT_TRUE(key.ok());
	EXPECT_EQ(*key, public_key);
	std::string altered = seed;
	altered[20] = altered[20] == 'A' ? 'B' : 'A';
	for (std::string wrong :
		 {std::string(), std::string(public_key), altered, std::string(seed).substr(1), std::string("x")})
		EXPECT_FALSE(nats::public_key(wrong).ok()) << wrong;
	EXPECT_STREQ(nats::public_key_of_file("/nonexistent").error().sqlstate, "58P01");
}

class NatsConnection : public NatsTest {
protected:
	static const char *failure(const nats::ConnectionOptions &options)
	{
		auto connection = Connection::open(options);
		if (connection.ok())
			return "none";
		last_ = connection.error();
		return last_.sqlstate;
	}
	static inline core::Error last_;
};

TEST_F(NatsConnection, Connects)
{
	NatsServer server;
	auto connection = Connection::open(at(server.url()));
	ASSERT_TRUE(connection.ok()) << connection.error().message;
	EXPECT_EQ(connection->connected_url(), server.url());
	EXPECT_EQ(connection->max_payload(), 1 << 20);
	EXPECT_FALSE(connection->closed());
	api(*connection, "INFO");
	EXPECT_GT(connection->round_trip().count(), 0);
	Connection moved(std::move(*connection));
	EXPECT_EQ(nats::json_number(nats::json_member(api(moved, "INFO"), "streams")), 0u);
}

TEST_F(NatsConnection, ReportsAServerThatIsAway)
{
	auto options = at(Listener().url());
	options.urls.push_back(Listener().url());
	ASSERT_STREQ(failure(options), "08001");
	EXPECT_NE(last_.message.find(options.urls[0]), std::string::npos) << last_.message;
	EXPECT_NE(last_.detail.find(options.urls[1]), std::string::npos) << last_.detail;
	EXPECT_NE(last_.hint.find("pgbraid.nats_url"), std::string::npos);
}

TEST_F(NatsConnection, GivesUpAfterTheTimeout)
{
	Listener black_hole;
	auto options = at(black_hole.url());
	options.timeout = milliseconds(300);
	auto begin = std::chrono::steady_clock::now();
	EXPECT_STREQ(failure(options), "08001");
	EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(1000));
}

TEST_F(NatsConnection, ReportsWhatIsNoNatsServer)
{
	Listener other;
	std::thread speaker([&] {
		int fd = accept(other.fd(), nullptr, nullptr);
		std::string text = "220 mail.example.org ESMTP\r\n";
		send(fd, text.data(), text.size(), MSG_NOSIGNAL);
		char buffer[100];
		recv(fd, buffer, sizeof buffer, 0);
		close(fd);
	});
	EXPECT_STREQ(failure(at(other.url())), "08P01") << last_.message;
	speaker.join();
}

TEST_F(NatsConnection, ProvesWhoItIsByPassword)
{
	NatsServer server(R"(authorization { user: "u\"1", password: "p\\\"w%" })");
	auto options = at(server.url());
	EXPECT_STREQ(failure(options), "28000");
	options.user = "u\"1";
	options.password = "wrong";
	EXPECT_STREQ(failure(options), "28P01");
	EXPECT_FALSE(last_.hint.empty());
	options.password = "p\\\"w%";
	EXPECT_STREQ(failure(options), "none") << last_.message;
	options.user.clear();
	options.urls = {"nats://u%221:p%5c%22w%25@127.0.0.1:" + std::to_string(server.port())};
	EXPECT_STREQ(failure(options), "none") << last_.message;
	auto connection = Connection::open(options);
	EXPECT_EQ(connection->connected_url(), server.url());
}

TEST_F(NatsConnection, ProvesWhoItIsByToken)
{
	NatsServer server("authorization { token: \"t0k/en\" }");
	auto options = at(server.url());
	options.token = "wrong";
	EXPECT_STREQ(failure(options), "28P01");
	options.token = "t0k/en";
	EXPECT_STREQ(failure(options), "none") << last_.message;
	options.token.clear();
	options.urls = {"nats://t0k%2Fen@127.0.0.1:" + std::to_string(server.port())};
	EXPECT_STREQ(failure(options), "none") << last_.message;
}

TEST_F(NatsConnection, ProvesWhoItIsByNkey)
{
	NatsServer server(std::string("authorization { users: [ { nkey: ") + public_key + " } ] }");
	auto options = at(server.url());
	options.nkey_seed_file = server.dir() + "/absent";
	EXPECT_STREQ(failure(options), "58P01");
	options.nkey_seed_file = server.dir() + "/seed";
	std::ofstream(options.nkey_seed_file) << "nothing\n";
	EXPECT_STREQ(failure(options), "22023");
	std::ofstream(options.nkey_seed_file) << "# a comment\n" << seed << "\n";
	EXPECT_STREQ(failure(options), "none") << last_.message;
	options.nkey_seed_file.clear();
	EXPECT_STREQ(failure(options), "28000");
}

TEST_F(NatsConnection, ReportsAFullServer)
{
	NatsServer server("max_connections: 1");
	auto connection = open(at(server.url()));
	std::string sqlstate = failure(at(server.url())); // the server's words may get lost with the connection
	EXPECT_TRUE(sqlstate == "53300" || (sqlstate == "08001" && last_.hint.find("max_connections") != std::string::npos))
		<< sqlstate << last_.message;
}

class NatsTls : public NatsConnection {
protected:
	void SetUp() override
	{
		NatsConnection::SetUp();
		if (std::system("openssl version >/dev/null 2>&1") != 0)
			GTEST_SKIP() << "openssl is not installed";
		char name[] = "/tmp/pgbraid-tls-XXXXXX";
		dir_ = mkdtemp(name);
		run("openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
		run("openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other");
		issue("server", "subjectAltName=IP:127.0.0.1");
		issue("elsewhere", "subjectAltName=DNS:elsewhere.example");
		issue("client", "extendedKeyUsage=clientAuth");
	}
	void TearDown() override
	{
		if (!dir_.empty())
			std::filesystem::remove_all(dir_);
	}
	void run(const std::string &command) const
	{
		ASSERT_EQ(std::system(("cd " + dir_ + " && " + command + " >/dev/null 2>&1").c_str()), 0) << command;
	}
	void issue(const std::string &name, const std::string &extension) const
	{
		run("openssl req -newkey rsa:2048 -nodes -keyout " + name + ".key -out " + name + ".csr -subj /CN=" + name);
		run("echo " + extension + " > ext && openssl x509 -req -in " + name +
			".csr -CA ca.pem -CAkey ca.key "
			"-CAcreateserial -days 2 -extfile ext -out " +
			name + ".pem");
	}
	std::string path(const std::string &name) const { return dir_ + "/" + name; }
	std::string tls(const std::string &name, const std::string &more) const
	{
		return "jetstream { store_dir: \"$DIR/js\" }\ntls { cert_file: \"" + path(name + ".pem") + "\", key_file: \"" +
			   path(name + ".key") + "\", ca_file: \"" + path("ca.pem") + "\"" + more + " }";
	}

	std::string dir_;
};

TEST_F(NatsTls, VerifiesTheServer)
{
	NatsServer server(tls("server", ""));
	auto options = at(server.url());
	EXPECT_STREQ(failure(options), "08001"); // the server demands TLS, and its certificate is not trusted
	options.tls_ca = path("other.pem");
	EXPECT_STREQ(failure(options), "08001");
	EXPECT_NE(last_.hint.find("CA"), std::string::npos);
	options.tls_ca = path("absent.pem");
	EXPECT_STREQ(failure(options), "58P01");
	options.tls_ca = path("ca.pem");
	auto connection = Connection::open(options);
	ASSERT_TRUE(connection.ok()) << connection.error().message;
	for (int i = 0; i < 100; i++)
		api(*connection, "INFO");
	options.urls = {"tls://127.0.0.1:" + std::to_string(server.port())};
	EXPECT_STREQ(failure(options), "none") << last_.message;
}

// Publishes large and small messages over the connection, and reads them back.
void publish_and_read(const nats::ConnectionOptions &options)
{
	auto publishing = publisher_options("");
	publishing.connection = options;
	Driver driver(publishing);
	driver.headers = "Other: a: b\r\n";
	for (std::size_t i = 0; i < 50; i++)
		driver.submit(1 + i % 20, "t.a", i % 10 == 0 ? 300'000 : 0);
	ASSERT_TRUE(driver.wait_acknowledged());
	EXPECT_EQ(driver.progress().errors, 0u);
	auto connection = open(options);
	expect_exactly(connection, driver.submitted());
	auto last = stored(connection, "S", driver.submitted());
	EXPECT_NE(last.headers.find("\r\nOther: a: b\r\n"), std::string::npos) << last.headers;
	EXPECT_NE(last.headers.find("Nats-Expected-Last-"), std::string::npos) << last.headers;
}

TEST_F(NatsTls, Publishes)
{
	NatsServer server(tls("server", ""));
	auto options = at(server.url());
	options.tls_ca = path("ca.pem");
	publish_and_read(options);
}

// A server that requires TLS gets it without being asked for it: nothing may go out in clear.
TEST_F(NatsTls, PublishesWithoutAskingForTls)
{
	NatsServer server(tls("server", ""));
	setenv("SSL_CERT_FILE", path("ca.pem").c_str(), 1);
	publish_and_read(at(server.url()));
	unsetenv("SSL_CERT_FILE");
}

TEST_F(NatsTls, VerifiesTheHost)
{
	NatsServer server(tls("elsewhere", ""));
	auto options = at(server.url());
	options.tls_ca = path("ca.pem");
	EXPECT_STREQ(failure(options), "08001");
}

TEST_F(NatsTls, ShowsItsCertificate)
{
	NatsServer server(tls("server", ", verify: true"));
	auto options = at(server.url());
	options.tls_ca = path("ca.pem");
	options.tls_cert = path("client.pem");
	EXPECT_STREQ(failure(options), "22023");
	options.tls_key = path("client.key");
	EXPECT_STREQ(failure(options), "none") << last_.message;
	options.tls_cert.clear();
	options.tls_key.clear();
	EXPECT_STRNE(failure(options), "none");
}

TEST_F(NatsTls, RefusesAServerWithoutTls)
{
	NatsServer server;
	EXPECT_STREQ(failure(at("tls://127.0.0.1:" + std::to_string(server.port()))), "08001");
	EXPECT_NE(last_.message.find("TLS"), std::string::npos) << last_.message;
}

} // namespace
} // namespace pgbraid::test
