#include "core/job/signature.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

// RFC 4231, test case 2.
TEST(Signature, OfABodyIsItsHmac)
{
	EXPECT_EQ(body_signature("Jefe", "what do ya want for nothing?"),
			  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Signature, WithATimeCoversTheTime)
{
	EXPECT_EQ(timed_signature("key", 1700000000, "{}"), "t=1700000000,v1=" + body_signature("key", "1700000000.{}"));
	EXPECT_NE(timed_signature("key", 1700000000, "{}").substr(12), timed_signature("key", 1700000001, "{}").substr(12));
}

} // namespace
} // namespace pgbraid::core
