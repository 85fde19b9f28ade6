#include "nats/wire.h"

#include <gtest/gtest.h>

namespace pgbraid::test {
namespace {

TEST(NatsWire, AppendsMessages)
{
	core::Bytes bytes;
	nats::append_publish(bytes, {"a.b", {}, "Nats-Msg-Id: 1\r\n", "{}"});
	nats::append_publish(bytes, {"a.b", "_INBOX.x", "N: v\r\nM: w\r\n", "two\r\nlines"});
	EXPECT_EQ(bytes.view(), "HPUB a.b 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n{}\r\n"
							"HPUB a.b _INBOX.x 24 34\r\nNATS/1.0\r\nN: v\r\nM: w\r\n\r\ntwo\r\nlines\r\n");
}

TEST(NatsWire, CountsAsTheServerDoes)
{
	nats::Outgoing message{"a", {}, "N: v\r\n", "12345"};
	EXPECT_EQ(message.size(), 10u + 6 + 2 + 5);
}

} // namespace
} // namespace pgbraid::test
