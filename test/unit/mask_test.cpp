#include "core/flow/json.h"
#include "core/flow/mask.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

std::string hmac(std::string_view key, std::string_view text)
{
	Bytes bytes;
	Hmac(key).append(bytes, text);
	return std::string{bytes.view()};
}

// The cases of RFC 4231.
TEST(Hmac, IsThatOfTheStandard)
{
	EXPECT_EQ(hmac(std::string(20, '\x0b'), "Hi There"),
			  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	EXPECT_EQ(hmac("Jefe", "what do ya want for nothing?"),
			  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	EXPECT_EQ(hmac(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
			  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Hmac, CanBeUsedAgain)
{
	Hmac one("key");
	Bytes first, again;
	one.append(first, "a");
	one.append(again, "b");
	again.clear();
	one.append(again, "a");
	EXPECT_EQ(first.view(), again.view());
	EXPECT_EQ(first.view(), hmac("key", "a"));
	EXPECT_NE(first.view(), hmac("kez", "a"));
	EXPECT_EQ(hmac("key", "").size(), 64u);
}

std::string partly(std::string_view text, std::size_t keep)
{
	Bytes bytes;
	append_partly_hidden(bytes, text, keep, utf8_length);
	return std::string{bytes.view()};
}

TEST(PartlyHidden, KeepsTheLastCharacters)
{
	EXPECT_EQ(partly("4111111111111234", 4), "************1234");
	EXPECT_EQ(partly("abc", 0), "***");
	EXPECT_EQ(partly("abc", 3), "abc");
	EXPECT_EQ(partly("abc", 4), "abc");
	EXPECT_EQ(partly("", 4), "");
}

TEST(PartlyHidden, CountsCharactersNotBytes)
{
	EXPECT_EQ(partly("aé€😀é", 2), "***😀é");
	EXPECT_EQ(partly("日本", 1), "*本");
}

TEST(PartlyHidden, ABadByteCountsAsOne)
{
	EXPECT_EQ(partly("\xff\xfe\x61", 1), "**a");
	EXPECT_EQ(partly("a\xe2\x82", 1), "**\x82");
}

} // namespace
} // namespace pgbraid::core
