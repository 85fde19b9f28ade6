#include "core/flow/seal.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

std::string sealed(const Seal &seal, std::string_view text)
{
	Bytes bytes;
	seal.append(bytes, text);
	return std::string{bytes.view()};
}

TEST(Seal, OpensWhatItSealed)
{
	Seal seal("secret");
	for (std::size_t size : {0u, 1u, 31u, 32u, 33u, 1000u}) {
		std::string text(size, 'x');
		EXPECT_EQ(seal.open(sealed(seal, text)), text) << size;
		EXPECT_EQ(sealed(seal, text), sealed(Seal("secret"), text)) << size;
	}
	EXPECT_EQ(seal.open(sealed(seal, std::string_view("a\0\xff", 3))), std::string("a\0\xff", 3));
}

TEST(Seal, HidesTheText)
{
	std::string digits = sealed(Seal("secret"), "AAAAAAAA");
	EXPECT_EQ(digits.find("4141"), digits.npos);
	EXPECT_EQ(digits.size(), 2u * (16 + 8));
	EXPECT_NE(digits, sealed(Seal("other"), "AAAAAAAA"));
}

TEST(Seal, OpensNothingElse)
{
	Seal seal("secret");
	std::string digits = sealed(seal, "[\"1\"]");
	EXPECT_FALSE(Seal("other").open(digits));
	EXPECT_FALSE(seal.open(digits.substr(1)));
	EXPECT_FALSE(seal.open(digits.substr(2)));
	EXPECT_FALSE(seal.open(digits + "00"));
	EXPECT_FALSE(seal.open(""));
	EXPECT_FALSE(seal.open("zz"));
	digits.back() = digits.back() == '0' ? '1' : '0';
	EXPECT_FALSE(seal.open(digits));
}

} // namespace
} // namespace pgbraid::core
